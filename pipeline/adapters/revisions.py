"""How identities are merged and split inside one transaction. Numbers are never reused, and no row goes away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, case, func, null, select, update

from pipeline.adapters.counters import advance, locked
from pipeline.adapters.database import in_parts
from pipeline.adapters.schema import identities, identity_events, tracklets
from pipeline.contracts import GlobalId, IdentityEvent, IdentityEventKind, TrackletId
from pipeline.decisions import Evidence, Revision
from pipeline.errors import Unavailable

TRACKLETS_PER_EVENT = 5_000  # 200 bytes each at most: well below the size of a message

_IS_OWN = tracklets.c.global_id == identities.c.global_id
_COUNT = select(func.count()).where(_IS_OWN).scalar_subquery()
_FIRST = select(func.min(tracklets.c.started_at)).where(_IS_OWN).scalar_subquery()
_LAST = select(func.max(tracklets.c.ended_at)).where(_IS_OWN).scalar_subquery()
# Tracklets and span of an identity; one that has lost all keeps its span, and lives on as another.
_COUNT_AGAIN = (
    update(identities)
    .where(identities.c.global_id == bindparam("which"))
    .values(
        tracklets=_COUNT,
        first_seen_at=func.coalesce(_FIRST, identities.c.first_seen_at),
        last_seen_at=func.coalesce(_LAST, identities.c.last_seen_at),
        merged_into=case((_COUNT == 0, bindparam("lives_on_as", type_=BigInteger)), else_=null()),
    )
)


def write_revisions(
    connection: Connection, revisions: Sequence[Revision], decided_at: float, after_event: int
) -> list[IdentityEvent]:
    """Move the tracklets and write the events, numbered on from `after_event`, which must be the last one.

    Raises `Unavailable`, for everything to be undone, when a revision does not fit what is there now.
    """
    events: list[IdentityEvent] = []
    rows: list[dict[str, Any]] = []
    for revision in revisions:
        moved = _moved(connection, revision)
        _open_or_check(connection, revision, decided_at)
        for part in in_parts(moved):
            query = update(tracklets).where(tracklets.c.tracklet_id.in_(part))
            connection.execute(query.values(global_id=revision.to_id))
        touched = (revision.from_id, revision.to_id)
        connection.execute(_COUNT_AGAIN, [{"which": each, "lives_on_as": revision.to_id} for each in touched])
        said = _events(revision, moved, decided_at, after_event + len(events))
        rows += [event_row(event, revision.evidence) for event in said]
        events += said
    if events:
        connection.execute(identity_events.insert(), rows)
        advance(connection, "event_id", events[-1].event_id)
    return events


def event_row(event: IdentityEvent, evidence: Evidence | None) -> dict[str, Any]:
    """An event as the database keeps it."""
    kept = None if evidence is None else evidence.model_dump(mode="json", exclude_defaults=True)
    return event.model_dump(mode="json") | {"evidence": kept}


def _moved(connection: Connection, revision: Revision) -> list[TrackletId]:
    """The tracklets that go, in the order of their decisions for a merge and as named for a split."""
    if revision.kind is IdentityEventKind.MERGED:
        query = select(tracklets.c.tracklet_id).where(tracklets.c.global_id == revision.from_id)
        moved = [TrackletId(name) for name in connection.execute(query.order_by(tracklets.c.assigned_event)).scalars()]
    else:
        there: set[str] = set()
        for part in in_parts(revision.tracklet_ids):
            query = select(tracklets.c.tracklet_id).where(tracklets.c.tracklet_id.in_(part))
            there |= set(connection.execute(query.where(tracklets.c.global_id == revision.from_id)).scalars())
        gone = sorted(set(revision.tracklet_ids) - there)
        if gone:
            raise _outdated(revision, f"tracklet {gone[0]} does not belong to person {revision.from_id}")
        moved = list(dict.fromkeys(revision.tracklet_ids))
    if not moved:
        raise _outdated(revision, f"person {revision.from_id} has no tracklets")
    return moved


def _open_or_check(connection: Connection, revision: Revision, decided_at: float) -> None:
    if revision.is_new:
        last = locked(connection, "global_id")
        if revision.to_id <= last:
            raise _outdated(revision, f"numbers up to {last} are given out by now")
        seen = {"first_seen_at": decided_at, "last_seen_at": decided_at, "tracklets": 0}
        connection.execute(identities.insert(), {"global_id": revision.to_id, "opened_at": decided_at, **seen})
        advance(connection, "global_id", revision.to_id)
    elif connection.execute(select(identities.c.global_id).where(_is(revision.to_id))).first() is None:
        raise _outdated(revision, f"there is no person {revision.to_id}")


def _events(
    revision: Revision, moved: Sequence[TrackletId], decided_at: float, after_event: int
) -> list[IdentityEvent]:
    parts = [moved[start : start + TRACKLETS_PER_EVENT] for start in range(0, len(moved), TRACKLETS_PER_EVENT)]
    return [
        IdentityEvent(
            event_id=after_event + number,
            kind=revision.kind,
            decided_at=decided_at,
            global_id=revision.to_id,
            from_global_id=revision.from_id,
            tracklet_ids=tuple(part),
            is_new=revision.is_new and number == 1,
            confidence=revision.confidence,
            reason=revision.reason,
        )
        for number, part in enumerate(parts, start=1)
    ]


def _is(global_id: GlobalId) -> Any:
    return identities.c.global_id == global_id


def _outdated(revision: Revision, found: str) -> Unavailable:
    return Unavailable(
        f"{found}, but person {revision.from_id} was to be {revision.kind.value} into {revision.to_id}; what this was "
        "decided on is no longer so: it must be decided again"
    )
