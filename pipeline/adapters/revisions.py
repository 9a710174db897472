"""How identities are merged and split inside one transaction. Numbers are never reused, and no row goes away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, case, func, null, select, update

from pipeline.adapters.counters import advance, locked
from pipeline.adapters.database import as_json, execute_many, in_parts
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
_OWN = (
    select(tracklets.c.global_id, tracklets.c.tracklet_id)
    .where(tracklets.c.global_id.in_(bindparam("persons", expanding=True)))
    .order_by(tracklets.c.assigned_event)
)
_KNOWN = select(identities.c.global_id).where(identities.c.global_id.in_(bindparam("persons", expanding=True)))
_TELL = identity_events.insert()
_MOVE = update(tracklets).where(tracklets.c.tracklet_id == bindparam("which")).values(global_id=bindparam("whose"))


def write_revisions(
    connection: Connection, revisions: Sequence[Revision], decided_at: float, after_event: int
) -> list[IdentityEvent]:
    """Move the tracklets and write the events, numbered on from `after_event`, which must be the last one.

    Raises `Unavailable`, for everything to be undone, when a revision does not fit what is there now.
    """
    events: list[IdentityEvent] = []
    reasoned: list[tuple[IdentityEvent, Evidence | None]] = []
    for independent in _independent(revisions):
        for revision, moved in zip(independent, _carry_out(connection, independent, decided_at), strict=True):
            said = _events(revision, moved, decided_at, after_event + len(events))
            reasoned += [(event, revision.evidence) for event in said]
            events += said
    if events:
        write_events(connection, reasoned)
        advance(connection, "event_id", events[-1].event_id)
    return events


def write_events(connection: Connection, events: Sequence[tuple[IdentityEvent, Evidence | None]]) -> None:
    """Events with the evidence for them, as far as they needed any."""
    execute_many(connection, _TELL, [_event_row(event, evidence) for event, evidence in events])


def _event_row(event: IdentityEvent, evidence: Evidence | None) -> dict[str, Any]:
    return {
        **dict(event),
        "kind": event.kind.value,
        "tracklet_ids": as_json(event.tracklet_ids),
        "evidence": None if evidence is None else as_json(evidence),
    }


def _independent(revisions: Sequence[Revision]) -> Iterator[list[Revision]]:
    """In their order, as far together as none of them touches a person of another."""
    part: list[Revision] = []
    touched: set[GlobalId] = set()
    for revision in revisions:
        if not touched.isdisjoint((revision.from_id, revision.to_id)):
            yield part
            part, touched = [], set()
        part.append(revision)
        touched |= {revision.from_id, revision.to_id}
    if part:
        yield part


def _carry_out(connection: Connection, revisions: Sequence[Revision], decided_at: float) -> list[list[TrackletId]]:
    """Revisions independent of each other, with the same statements for all; returns the tracklets that each moves."""
    whole = [revision.from_id for revision in revisions if revision.kind is IdentityEventKind.MERGED]
    owned = _tracklets_of(connection, whole)
    moved = [
        _named(connection, revision) if revision.kind is IdentityEventKind.SPLIT else owned[revision.from_id]
        for revision in revisions
    ]
    for revision, names in zip(revisions, moved, strict=True):
        if not names:
            raise _outdated(revision, f"person {revision.from_id} has no tracklets")
    _open_or_check(connection, revisions, decided_at)
    goers = zip(revisions, moved, strict=True)
    moves = [{"which": name, "whose": each.to_id} for each, names in goers for name in names]
    execute_many(connection, _MOVE, moves)
    recounted = [(who, revision.to_id) for revision in revisions for who in (revision.from_id, revision.to_id)]
    execute_many(connection, _COUNT_AGAIN, [{"which": who, "lives_on_as": other} for who, other in recounted])
    return moved


def _tracklets_of(connection: Connection, persons: Sequence[GlobalId]) -> dict[GlobalId, list[TrackletId]]:
    """In the order of their decisions."""
    found: dict[GlobalId, list[TrackletId]] = {person: [] for person in persons}
    for part in in_parts(persons):
        for person, name in connection.execute(_OWN, {"persons": part}):
            found[person].append(TrackletId(name))
    return found


def _named(connection: Connection, split: Revision) -> list[TrackletId]:
    """The tracklets that a split names, if all of them are there."""
    there: set[str] = set()
    for part in in_parts(split.tracklet_ids):
        query = select(tracklets.c.tracklet_id).where(tracklets.c.tracklet_id.in_(part))
        there |= set(connection.execute(query.where(tracklets.c.global_id == split.from_id)).scalars())
    gone = sorted(set(split.tracklet_ids) - there)
    if gone:
        raise _outdated(split, f"tracklet {gone[0]} does not belong to person {split.from_id}")
    return list(dict.fromkeys(split.tracklet_ids))


def _open_or_check(connection: Connection, revisions: Sequence[Revision], decided_at: float) -> None:
    for revision in revisions:
        if revision.is_new:
            _open(connection, revision, decided_at)
    into = [revision.to_id for revision in revisions if not revision.is_new]
    known = {person for part in in_parts(into) for person in connection.execute(_KNOWN, {"persons": part}).scalars()}
    for revision in revisions:
        if not revision.is_new and revision.to_id not in known:
            raise _outdated(revision, f"there is no person {revision.to_id}")


def _open(connection: Connection, revision: Revision, decided_at: float) -> None:
    last = locked(connection, "global_id")
    if revision.to_id <= last:
        raise _outdated(revision, f"numbers up to {last} are given out by now")
    seen = {"first_seen_at": decided_at, "last_seen_at": decided_at, "tracklets": 0}
    connection.execute(identities.insert(), {"global_id": revision.to_id, "opened_at": decided_at, **seen})
    advance(connection, "global_id", revision.to_id)


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


def _outdated(revision: Revision, found: str) -> Unavailable:
    return Unavailable(
        f"{found}, but person {revision.from_id} was to be {revision.kind.value} into {revision.to_id}; what this was "
        "decided on is no longer so: it must be decided again"
    )
