"""The store: what is decided in one transaction, and the questions of `History` and `ModelStore`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, case, update

from pipeline.adapters.correction_store import is_applied, note_applied
from pipeline.adapters.counters import advance, counted, locked, reach, shared
from pipeline.adapters.database import Columns, Database, Fence
from pipeline.adapters.erased_tracks import gone_of
from pipeline.adapters.erasure_store import ErasureStore
from pipeline.adapters.model_store import ModelStore, assigned, insert_embeddings, tracklet_row
from pipeline.adapters.revisions import write_events, write_revisions
from pipeline.adapters.schema import cameras, crops, identities, tracklets
from pipeline.adapters.verdict_store import VerdictStore
from pipeline.contracts import (
    CameraId,
    GlobalId,
    IdentityEvent,
    IdentityEventKind,
    TrackletCrops,
    TrackletId,
)
from pipeline.decisions import Applied, Decision, Revision
from pipeline.errors import Unavailable
from pipeline.forgetting import Kind


def upgrade(url: str) -> None:
    """Create the schema or bring it up to date; safe when several processes start at once.

    Raises `ConfigurationError` when a newer Sightline wrote the database, `Unavailable` when it does not answer.
    """
    database = Database(url)
    try:
        database.upgrade()
    finally:
        database.close()


class SqlStore(ErasureStore, VerdictStore):
    """The truth, on SQLite (`sqlite:///FILE`) or PostgreSQL (`postgresql://…`). May be used by several threads.

    Raises `ConfigurationError` when the schema is not this code's, `Unavailable` from every method while the database
    does not answer or another process writes for longer than `busy_s`. Each transaction that writes begins with
    `fence`, as `Lease.check`.
    """

    def __init__(self, url: str, busy_s: float = 10.0, fence: Fence | None = None) -> None:
        database = Database(url, busy_s, fence)
        database.check_schema()
        super().__init__(database)

    @classmethod
    def in_memory(cls) -> SqlStore:
        """An empty one for tests; it is gone when the process ends."""
        store = cls.__new__(cls)
        ModelStore.__init__(store, Database.in_memory())
        return store

    def close(self) -> None:
        self._database.close()

    # --- decisions ------------------------------

    def commit_decisions(
        self,
        decisions: Sequence[Decision],
        decided_at: float,
        revisions: Sequence[Revision] = (),
        applied: Applied | None = None,
    ) -> list[IdentityEvent]:
        """Write tracklets, embeddings, assignments, then revisions, and events in one transaction; returns the new
        events. With `applied` also what came of a correction, which led to the revisions.

        A tracklet that has an assignment keeps it and causes no event, so a repeated batch changes nothing; only its
        embedding is added if it was made by another model. A correction that is applied already changes nothing. Raises
        `Unavailable`, and writes nothing, when somebody else has in the meantime given out a number that this batch
        wants for a new person, a tracklet was erased, or a revision does not fit any more: decide again.
        """
        if not decisions and not revisions and applied is None:
            return []
        with self._database.writing() as connection:
            last_event = locked(connection, "event_id")
            if applied is not None and is_applied(connection, applied.number):
                return []
            events = self._write_decisions(connection, decisions, decided_at, last_event) if decisions else []
            changes = write_revisions(connection, revisions, decided_at, last_event + len(events))
            if applied is not None:
                note_applied(connection, applied, changes, decided_at)
            return events + changes

    def assignments(self, tracklet_ids: Sequence[TrackletId]) -> dict[TrackletId, GlobalId]:
        """The identity of each tracklet that has one."""
        with self._database.reading() as connection:
            return assigned(connection, tracklet_ids)

    def next_global_id(self) -> GlobalId:
        """One more than any number ever given out; numbers are never reused, not even when a person is deleted."""
        with self._database.reading() as connection:
            return GlobalId(counted(connection, "global_id") + 1)

    def unpublished_events(self, limit: int) -> list[IdentityEvent]:
        """Events after the last one marked, in order. After a crash the same events come with the same numbers."""
        with self._database.reading() as connection:
            published = counted(connection, "published")
        return self.events_after(published, limit)

    def mark_published(self, up_to_event_id: int) -> None:
        with self._database.writing() as connection:
            reach(connection, "published", up_to_event_id)

    # --- archive ------------------------------

    def archive_tracklet(self, tracklet: TrackletCrops) -> bool:
        """Rows for the crops of a tracklet whose blobs are already written. Repeats change nothing.

        Returns false, and keeps nothing, for one that was erased or comes when its time is over.
        """
        with self._database.writing() as connection:
            shared(connection, "erasure")
            if gone_of(connection, [tracklet], Kind.CROPS):
                return False
            self._database.insert_new(connection, tracklets, [tracklet_row(tracklet)])
            self._database.insert_new(connection, crops, _crop_rows(tracklet))
        return True

    def upsert_camera(self, camera_id: CameraId, address: str, at: float) -> None:
        """Remember a camera, or its new address. `address` must come without credentials."""
        with self._database.writing() as connection:
            self._database.insert_new(
                connection, cameras, [{"camera_id": camera_id, "address": address, "added_at": at}]
            )
            connection.execute(update(cameras).where(cameras.c.camera_id == camera_id).values(address=address))

    # --- inside one transaction ------------------------------

    def _write_decisions(
        self, connection: Connection, decisions: Sequence[Decision], decided_at: float, last_event: int
    ) -> list[IdentityEvent]:
        _refuse_gone(connection, decisions)
        known = assigned(connection, [decision.embedding.tracklet_id for decision in decisions])
        fresh = {d.embedding.tracklet_id: d for d in reversed(decisions) if d.embedding.tracklet_id not in known}
        chosen = list(reversed(fresh.values()))
        events = [_event(last_event + number, d, decided_at) for number, d in enumerate(chosen, start=1)]
        if chosen:
            _refuse_taken_numbers(connection, decisions, chosen)
            self._database.upsert(connection, identities, _identity_rows(chosen, decided_at), _widened)
            reach(connection, "global_id", max(decision.global_id for decision in chosen))
            rows = [_decided_row(decision, event) for decision, event in zip(chosen, events, strict=True)]
            self._database.upsert(connection, tracklets, rows, _assigned)
            write_events(connection, [(event, made.evidence) for event, made in zip(events, chosen, strict=True)])
            advance(connection, "event_id", events[-1].event_id)
        insert_embeddings(connection, [decision.embedding for decision in decisions], decided=fresh)
        return events


def _refuse_gone(connection: Connection, decisions: Sequence[Decision]) -> None:
    """Nobody who was erased meanwhile begins anew, and no vector comes in behind the mark of those that are kept."""
    shared(connection, "erasure")
    gone = gone_of(connection, [decision.embedding for decision in decisions], Kind.VECTORS)
    if gone:
        raise Unavailable(
            f"{len(gone)} tracklets of a batch were erased, or their time has passed, while it was decided; it must be "
            "decided again without them"
        )


def _refuse_taken_numbers(connection: Connection, decisions: Sequence[Decision], chosen: Sequence[Decision]) -> None:
    """Whoever opened a person since the batch was decided must not share the number with somebody of the batch.

    A tracklet that joined a person opened by the same batch counts too, even if the one that opened it is settled.
    """
    opened = {decision.global_id for decision in decisions if decision.is_new}
    wanted = {decision.global_id for decision in chosen} & opened
    last = locked(connection, "global_id")
    taken = sorted(number for number in wanted if number <= last)
    if taken:
        raise Unavailable(
            f"identity {taken[0]} was meant for a new person, but numbers up to {last} are given out by now; this "
            "batch must be decided again"
        )


def _identity_rows(decisions: Sequence[Decision], decided_at: float) -> list[dict[str, Any]]:
    """Whom they name, as far as these decisions know."""
    spans: dict[GlobalId, tuple[float, float, int]] = {}
    for decision in decisions:
        first, last, count = spans.get(decision.global_id, (math.inf, -math.inf, 0))
        seen = decision.embedding
        spans[decision.global_id] = (min(first, seen.started_at), max(last, seen.ended_at), count + 1)
    return [
        {"global_id": who, "opened_at": decided_at, "first_seen_at": first, "last_seen_at": last, "tracklets": count}
        for who, (first, last, count) in spans.items()
    ]


def _widened(new: Columns) -> dict[str, Any]:
    """What new tracklets change of a known identity."""
    old = identities.c
    return {
        "first_seen_at": case((new.first_seen_at < old.first_seen_at, new.first_seen_at), else_=old.first_seen_at),
        "last_seen_at": case((new.last_seen_at > old.last_seen_at, new.last_seen_at), else_=old.last_seen_at),
        "tracklets": old.tracklets + new.tracklets,
    }


def _decided_row(decision: Decision, event: IdentityEvent) -> dict[str, Any]:
    return tracklet_row(decision.embedding) | {
        "global_id": decision.global_id,
        "confidence": decision.confidence,
        "newness": decision.newness,
        "likeliest": decision.likeliest,
        "decided_at": event.decided_at,
        "assigned_event": event.event_id,
    }


def _assigned(new: Columns) -> dict[str, Any]:
    """What a decision changes of a tracklet that the archive knows already."""
    names = ("global_id", "confidence", "newness", "likeliest", "decided_at", "assigned_event")
    return {name: new[name] for name in names}


def _crop_rows(tracklet: TrackletCrops) -> list[dict[str, Any]]:
    corners = ("x1_px", "y1_px", "x2_px", "y2_px")
    return [
        {
            "tracklet_id": tracklet.tracklet_id,
            "rank": rank,
            "blob_key": crop.key,
            "captured_at": crop.captured_at,
            **dict(zip(corners, crop.box_px, strict=True)),
            "frame_width_px": crop.frame_size_px[0],
            "frame_height_px": crop.frame_size_px[1],
            "score": crop.score,
            "sharpness": crop.sharpness,
            "visibility": crop.visibility,
        }
        for rank, crop in enumerate(tracklet.crops)
    ]


def _event(event_id: int, decision: Decision, decided_at: float) -> IdentityEvent:
    seen = decision.embedding
    return IdentityEvent(
        event_id=event_id,
        kind=IdentityEventKind.ASSIGNED,
        decided_at=decided_at,
        global_id=decision.global_id,
        tracklet_ids=(seen.tracklet_id,),
        camera_id=seen.camera_id,
        started_at=seen.started_at,
        ended_at=seen.ended_at,
        is_new=decision.is_new,
        is_tentative=decision.is_tentative,
        confidence=decision.confidence,
        reason=decision.reason,
    )
