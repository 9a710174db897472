"""People who are forgotten, in the database: asked for by anybody, done by the matcher, followed by everybody else.

What comes late must not begin an erased person anew. So the tracks leave a mark, which is a hash and tells nothing, and
whoever writes tracklets asks for it inside the transaction that writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update

from pipeline.adapters.correction_store import living_as
from pipeline.adapters.counters import advance, counted, locked, shared
from pipeline.adapters.database import in_parts
from pipeline.adapters.erased_tracks import belongings, erased_of, gone_of, mark_tracks
from pipeline.adapters.retention_store import RetentionStore
from pipeline.adapters.revisions import TRACKLETS_PER_EVENT, write_events
from pipeline.adapters.schema import doomed_blobs, erased_tracks, erasures, identity_events, tracklets
from pipeline.adapters.scrubbing import forget_tracklets, numbers_of, scrub_mentions
from pipeline.contracts import GlobalId, IdentityEvent, IdentityEventKind, TrackletCrops, TrackletEmbedding, TrackletId
from pipeline.errors import InvalidQuery
from pipeline.forgetting import (
    ErasureRequest,
    Followed,
    Found,
    Kind,
    Left,
    Receipt,
)


class ErasureStore(RetentionStore):
    """Requests, receipts, and the one transaction in which the database forgets a person."""

    def rehearse_erasure(self, global_id: GlobalId) -> Found:
        """What an erasure would remove: the erasure itself, undone. Raises `InvalidQuery` for an unknown person."""
        try:
            with self._database.writing() as connection:
                locked(connection, "event_id")
                locked(connection, "erasure")
                person = living_as(connection, global_id)
                if person is None:
                    raise _unknown(global_id)
                raise _Undone(forget_tracklets(connection, self._database, belongings(connection, person)[0], 0))
        except _Undone as undone:
            return undone.found

    def add_erasure(self, request: ErasureRequest, expected: Found, made_at: float) -> int:
        """Keep a request for the matcher to apply, and return its number; that of an earlier one for the same person
        which still waits. Raises `InvalidQuery` for an unknown person."""
        with self._database.writing() as connection:
            number = locked(connection, "erasure") + 1
            person = living_as(connection, request.global_id)
            if person is None:
                raise _unknown(request.global_id)
            for earlier in connection.execute(select(erasures).where(erasures.c.erased_at.is_(None))):
                if living_as(connection, earlier.global_id) == person:
                    return int(earlier.number)
            row = {
                "number": number,
                "global_id": request.global_id,
                "made_by": request.made_by,
                "why": request.why,
                "made_at": made_at,
                "expected": expected.model_dump(),
                "global_ids": [],
                "event_ids": [],
                "scrubbed_to": 0,
                "followed": Followed().model_dump(),
            }
            connection.execute(erasures.insert(), row)
            advance(connection, "erasure", number)
        return number

    def receipts(self, limit: int) -> list[Receipt]:
        """The newest requests and what came of them, newest first."""
        return self._receipts(select(erasures).order_by(erasures.c.number.desc()).limit(limit))

    def all_receipts(self) -> list[Receipt]:
        """In order."""
        return self._receipts(select(erasures).order_by(erasures.c.number))

    def last_erasure(self) -> int:
        """The number of the last request, at first 0."""
        with self._database.reading() as connection:
            return counted(connection, "erasure")

    def number_erasures_after(self, last: int) -> None:
        """Give the numbers up to `last` to nobody any more: in a database that was put back others had them."""
        with self._database.writing() as connection:
            if locked(connection, "erasure") < last:
                advance(connection, "erasure", last)

    def receipt(self, number: int) -> Receipt | None:
        """One of them; None for an unknown number."""
        return next(iter(self._receipts(select(erasures).where(erasures.c.number == number))), None)

    def pending_erasures(self) -> list[Receipt]:
        """Those that the matcher has not applied, in order."""
        return self._receipts(select(erasures).where(erasures.c.erased_at.is_(None)).order_by(erasures.c.number))

    def unfinished_erasures(self) -> list[Receipt]:
        """Those that the database has forgotten, while something may be left elsewhere; in order."""
        is_open = erasures.c.erased_at.is_not(None) & erasures.c.finished_at.is_(None)
        return self._receipts(select(erasures).where(is_open).order_by(erasures.c.number))

    def erase(self, number: int, erased_at: float, marks_expire_at: float) -> list[IdentityEvent]:
        """Forget a person, with all that is known of the pieces of her tracks; returns the new events, which name the
        tracklets for those who hold something of them.

        Only the matcher may do this. Everything happens in one transaction, and a repeat changes nothing.
        """
        with self._database.writing() as connection:
            last_event = locked(connection, "event_id")
            locked(connection, "erasure")
            asked = connection.execute(select(erasures).where(erasures.c.number == number)).one()
            if asked.erased_at is not None:
                return []
            person = living_as(connection, asked.global_id)
            if person is None:  # forgotten meanwhile, by another request or by its age
                self._note_erased(connection, number, erased_at, [asked.global_id], Found(), [])
                return []
            numbers = sorted(numbers_of(connection, [person]))
            names, spans = belongings(connection, person)
            found = forget_tracklets(connection, self._database, names, number)
            mark_tracks(connection, self._database, spans, marks_expire_at)
            events = _events(number, person, names, erased_at, last_event)
            write_events(connection, [(event, None) for event in events])
            advance(connection, "event_id", events[-1].event_id)
            self._note_erased(connection, number, erased_at, numbers, found, events)
        return events

    def gone(self, seen: Sequence[TrackletCrops | TrackletEmbedding], kind: Kind) -> set[TrackletId]:
        """Which of these tracklets are not to be kept (any more): erased, or beyond the time of a kind."""
        with self._database.reading() as connection:
            return gone_of(connection, seen, kind)

    def add_vectors(self, seen: Sequence[TrackletEmbedding]) -> list[TrackletEmbedding]:
        """Write vectors without deciding anything, and return those that were new.

        Those of tracklets that were erased, or whose time has passed, are left out.
        """
        if not seen:
            return []
        with self._database.writing() as connection:
            shared(connection, "erasure")
            gone = gone_of(connection, seen, Kind.VECTORS)
            return self._add_vectors(connection, [each for each in seen if each.tracklet_id not in gone])

    def erased(self, tracklet_ids: Sequence[TrackletId]) -> set[TrackletId]:
        """Which of these belong to erased tracks."""
        with self._database.reading() as connection:
            return erased_of(connection, tracklet_ids)

    def erased_names(self, number: int) -> set[TrackletId]:
        """The tracklets that an erasure removed, as long as it is followed; empty when it is over."""
        query = select(identity_events.c.tracklet_ids).where(identity_events.c.event_id.in_(self._event_ids(number)))
        with self._database.reading() as connection:
            return {TrackletId(name) for names in connection.execute(query).scalars() for name in names}

    def scrub_mentions(self, number: int, most_events: int) -> int | None:
        """Take an erased person out of the evidence about others, `most_events` further; returns of how many events,
        None when all were looked through."""
        with self._database.writing() as connection:
            row = connection.execute(select(erasures).where(erasures.c.number == number)).one()
            # Whoever was decided later was compared with nobody of her.
            last = row.event_ids[-1] if row.event_ids else 0
            if row.scrubbed_to >= last:
                return None
            up_to = min(row.scrubbed_to + most_events, last)
            scrubbed = scrub_mentions(connection, row.global_ids, row.scrubbed_to, up_to)
            connection.execute(update(erasures).where(erasures.c.number == number).values(scrubbed_to=up_to))
        return scrubbed

    def note_followed(self, number: int, more: Followed) -> None:
        """Add to the receipt what was removed elsewhere."""
        with self._database.writing() as connection:
            this = erasures.c.number == number
            before = connection.execute(select(erasures.c.followed).where(this)).scalar_one()
            total = Followed.model_validate(before) + more
            connection.execute(update(erasures).where(this).values(followed=total.model_dump()))

    def left_of(self, number: int) -> Left:
        """What the database still knows of an erased person."""
        names = sorted(self.erased_names(number))
        with self._database.reading() as connection:
            row = connection.execute(select(erasures).where(erasures.c.number == number)).one()
            count = select(func.count()).select_from(tracklets)
            found = [connection.execute(count.where(tracklets.c.global_id.in_(row.global_ids))).scalar_one()]
            found += [
                connection.execute(count.where(tracklets.c.tracklet_id.in_(part))).scalar_one()
                for part in in_parts(names)
            ]
            doomed = select(func.count()).where(doomed_blobs.c.erasure == number)
            is_scrubbed = not row.event_ids or row.scrubbed_to >= row.event_ids[-1]
            return Left(
                tracklets=sum(found),
                blobs=connection.execute(doomed).scalar_one(),
                mentions=0 if is_scrubbed else 1,
            )

    def finish_erasure(self, number: int, left: Left, finished_at: float | None) -> None:
        """Note what is left; with `finished_at` that the erasure is over. Then, and when something is left in backups
        alone, its events name no tracklet any more."""
        is_gone = finished_at is not None or left.is_only_in_backups
        event_ids = self._event_ids(number)
        with self._database.writing() as connection:
            values = {"left": left.model_dump(), "finished_at": finished_at}
            connection.execute(update(erasures).where(erasures.c.number == number).values(values))
            if is_gone:
                these = identity_events.c.event_id.in_(event_ids)
                connection.execute(update(identity_events).where(these).values(tracklet_ids=[]))
        if is_gone:
            self._database.fold_log()

    def drop_old_marks(self, now: float) -> None:
        """Of tracks whose pieces cannot come any more."""
        with self._database.writing() as connection:
            connection.execute(delete(erased_tracks).where(erased_tracks.c.expires_at < now))

    def _note_erased(
        self,
        connection: Connection,
        number: int,
        erased_at: float,
        numbers: Sequence[int],
        found: Found,
        events: Sequence[IdentityEvent],
    ) -> None:
        values = {
            "erased_at": erased_at,
            "global_ids": list(numbers),
            "removed": found.model_dump(),
            "event_ids": [event.event_id for event in events],
        }
        connection.execute(update(erasures).where(erasures.c.number == number).values(values))

    def _event_ids(self, number: int) -> list[int]:
        with self._database.reading() as connection:
            query = select(erasures.c.event_ids).where(erasures.c.number == number)
            return [int(event_id) for event_id in connection.execute(query).scalar_one()]

    def _receipts(self, query: Any) -> list[Receipt]:
        with self._database.reading() as connection:
            return [_receipt(row) for row in connection.execute(query)]


class _Undone(Exception):
    """Ends a rehearsal, and with it its transaction."""

    def __init__(self, found: Found) -> None:
        super().__init__()
        self.found = found


def _events(
    number: int, person: GlobalId, names: Sequence[TrackletId], erased_at: float, after_event: int
) -> list[IdentityEvent]:
    parts = [names[start : start + TRACKLETS_PER_EVENT] for start in range(0, len(names), TRACKLETS_PER_EVENT)]
    return [
        IdentityEvent(
            event_id=after_event + place,
            kind=IdentityEventKind.ERASED,
            decided_at=erased_at,
            global_id=person,
            tracklet_ids=tuple(part),
            confidence=1.0,
            reason=f"erasure {number}",
        )
        for place, part in enumerate(parts or [()], start=1)
    ]


def _unknown(global_id: GlobalId) -> InvalidQuery:
    return InvalidQuery(
        f"there is no person {global_id}",
        "the number of a person who was seen and was not erased",
        "look at the list of people; `sightline receipts` tells who was erased",
    )


def _receipt(row: Row[Any]) -> Receipt:
    return Receipt(
        number=row.number,
        global_id=row.global_id,
        made_by=row.made_by,
        why=row.why,
        made_at=row.made_at,
        expected=Found.model_validate(row.expected),
        erased_at=row.erased_at,
        global_ids=tuple(row.global_ids),
        removed=None if row.removed is None else Found.model_validate(row.removed),
        followed=Followed.model_validate(row.followed),
        finished_at=row.finished_at,
        left=None if row.left is None else Left.model_validate(row.left),
    )
