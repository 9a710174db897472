"""Corrections in the database: kept by whoever makes them, applied by the matcher, gone only with those they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, select, update

from pipeline.adapters.counters import advance, counted, locked
from pipeline.adapters.database import in_parts
from pipeline.adapters.model_store import ModelStore, assigned
from pipeline.adapters.schema import corrections, identities, tracklets
from pipeline.contracts import GlobalId, IdentityEvent, TrackletId
from pipeline.decisions import Applied, Correction, CorrectionKind, CorrectionRequest, WhoIsWho
from pipeline.errors import InvalidQuery


class CorrectionStore(ModelStore):
    """Corrections, and who is who."""

    def add_correction(self, request: CorrectionRequest, made_at: float) -> int:
        """Keep a correction for the matcher to apply, and return its number.

        Raises `InvalidQuery` for persons, tracklets or corrections that are unknown, tracklets without an identity, and
        what is undone already.
        """
        with self._database.writing() as connection:
            _refuse_unknown(connection, request)
            number = locked(connection, "correction") + 1
            row = {
                "number": number,
                "kind": request.kind.value,
                "global_ids": list(request.global_ids),
                "tracklet_ids": list(request.tracklet_ids),
                "undoes": request.undoes,
                "made_by": request.made_by,
                "made_at": made_at,
                "note": request.note,
                "after_event": counted(connection, "event_id"),
                "outcome": "",
                "event_ids": [],
                "one_side": [],
                "other_side": [],
            }
            connection.execute(corrections.insert(), row)
            advance(connection, "correction", number)
        return number

    def pending_corrections(self, limit: int) -> list[Correction]:
        """Corrections that were not applied yet, in order."""
        return self._corrections(corrections.c.applied_at.is_(None), limit)

    def corrections(self, limit: int) -> list[Correction]:
        """The newest ones, newest first. The number of the first tells how many there are."""
        query = select(corrections).order_by(corrections.c.number.desc()).limit(limit)
        with self._database.reading() as connection:
            return [correction_of(row) for row in connection.execute(query)]

    def open_corrections(self) -> list[Correction]:
        """Those that are law now: applied and not undone."""
        is_open = and_(
            corrections.c.applied_at.is_not(None),
            corrections.c.undone_by.is_(None),
            corrections.c.kind != CorrectionKind.UNDO.value,
        )
        return self._corrections(is_open)

    def correction(self, number: int) -> Correction | None:
        """One of them; None for an unknown number."""
        return next(iter(self._corrections(corrections.c.number == number)), None)

    def current_identity(self, global_id: GlobalId) -> GlobalId | None:
        """Itself, or the identity that a merged one lives on as; None for an unknown one."""
        with self._database.reading() as connection:
            return living_as(connection, global_id)

    def who_is_who(self, global_ids: Sequence[GlobalId], tracklet_ids: Sequence[TrackletId]) -> WhoIsWho:
        """Of these identities and those of these tracklets, at one moment."""
        with self._database.reading() as connection:
            current = {named: now for named in global_ids if (now := living_as(connection, named)) is not None}
            meant = {*current.values(), *assigned(connection, tracklet_ids).values()}
            query = select(tracklets.c.tracklet_id, tracklets.c.global_id, tracklets.c.assigned_event)
            found: list[Row[Any]] = []
            for part in in_parts(sorted(meant)):
                found += connection.execute(query.where(tracklets.c.global_id.in_(part)))
            found.sort(key=lambda row: row.assigned_event)
            return WhoIsWho(
                current=current,
                identity={TrackletId(row.tracklet_id): GlobalId(row.global_id) for row in found},
                assigned_event={TrackletId(row.tracklet_id): row.assigned_event for row in found},
                next_id=GlobalId(counted(connection, "global_id") + 1),
            )

    def _corrections(self, condition: ColumnElement[bool], limit: int | None = None) -> list[Correction]:
        query = select(corrections).where(condition).order_by(corrections.c.number).limit(limit)
        with self._database.reading() as connection:
            return [correction_of(row) for row in connection.execute(query)]


def is_applied(connection: Connection, number: int) -> bool:
    query = select(corrections.c.applied_at).where(corrections.c.number == number)
    return connection.execute(query).scalar_one() is not None


def note_applied(connection: Connection, applied: Applied, events: Sequence[IdentityEvent], applied_at: float) -> None:
    """Write what came of a correction."""
    values = {
        "applied_at": applied_at,
        "outcome": applied.outcome[:400],
        "event_ids": [event.event_id for event in events],
        "one_side": list(applied.one_side),
        "other_side": list(applied.other_side),
    }
    connection.execute(update(corrections).where(corrections.c.number == applied.number).values(values))
    if applied.undoes is not None:
        undone = update(corrections).where(corrections.c.number == applied.undoes)
        connection.execute(undone.values(undone_by=applied.number))


def _refuse_unknown(connection: Connection, request: CorrectionRequest) -> None:
    for global_id in request.global_ids:
        if living_as(connection, global_id) is None:
            raise InvalidQuery(
                f"there is no person {global_id}", "the number of a person who was seen", "look at the list of people"
            )
    known = assigned(connection, request.tracklet_ids)
    for tracklet_id in request.tracklet_ids:
        if tracklet_id not in known:
            raise InvalidQuery(
                f"tracklet {tracklet_id[:200]!r} is unknown, or has no identity yet",
                "a tracklet that belongs to a person: CAMERA/BOOT/TRACK/SEQUENCE",
                "correct the name, or try again in a few seconds",
            )
    if request.undoes is not None:
        _refuse_undo(connection, request.undoes)


def _refuse_undo(connection: Connection, number: int) -> None:
    row = connection.execute(select(corrections).where(corrections.c.number == number)).one_or_none()
    if row is None or row.kind == CorrectionKind.UNDO.value:
        raise InvalidQuery(
            f"correction {number} is " + ("unknown" if row is None else "itself an undo"),
            "the number of a correction that moved or ruled something",
            "look at `sightline correct list`, or make the correction anew",
        )
    by = connection.execute(select(corrections.c.number).where(corrections.c.undoes == number)).scalars().first()
    if by is not None:
        raise InvalidQuery(
            f"correction {number} is undone by {by} already",
            "one that is still law",
            "look at `sightline correct list`",
        )


def living_as(connection: Connection, global_id: GlobalId) -> GlobalId | None:
    """Itself, or as whom a merged one lives on; None for an unknown one.

    Follows merges to whoever has tracklets now. They lead nowhere in a circle: who gets tracklets is no longer
    merged into anybody."""
    while True:
        query = select(identities.c.merged_into).where(identities.c.global_id == global_id)
        row = connection.execute(query).one_or_none()
        if row is None:
            return None
        if row.merged_into is None:
            return global_id
        global_id = GlobalId(row.merged_into)


def correction_of(row: Row[Any]) -> Correction:
    """A row of `corrections`."""
    request = CorrectionRequest(
        kind=CorrectionKind(row.kind),
        made_by=row.made_by,
        note=row.note,
        global_ids=tuple(GlobalId(number) for number in row.global_ids),
        tracklet_ids=tuple(TrackletId(name) for name in row.tracklet_ids),
        undoes=row.undoes,
    )
    return Correction(
        number=row.number,
        request=request,
        made_at=row.made_at,
        after_event=row.after_event,
        applied_at=row.applied_at,
        outcome=row.outcome,
        event_ids=tuple(row.event_ids),
        one_side=tuple(TrackletId(name) for name in row.one_side),
        other_side=tuple(TrackletId(name) for name in row.other_side),
        undone_by=row.undone_by,
    )
