"""Tracklets taken out of the database inside one transaction, with all that hangs on them or tells of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Text, bindparam, cast, delete, func, or_, select, update

from pipeline.adapters.correction_store import correction_of
from pipeline.adapters.counters import advance, locked
from pipeline.adapters.database import Database, in_parts
from pipeline.adapters.schema import (
    alerts,
    corrections,
    crops,
    doomed_blobs,
    embedding_failures,
    embeddings,
    identities,
    identity_events,
    search_verdicts,
    tracklets,
)
from pipeline.contracts import GlobalId, TrackletId
from pipeline.decisions import CorrectionKind, Evidence
from pipeline.forgetting import Found, without

_SCRUBBED = "the reason named somebody who was erased"
_PERSONS = re.compile(r"\bpersons? (\d+)(?: and (\d+))?\b")  # as every reason names them


def forget_tracklets(
    connection: Connection, database: Database, names: Sequence[TrackletId], erasure: int | None = None
) -> Found:
    """Remove tracklets with their vectors, crops, alerts and events, and their names from what is told of others.

    The keys of the crops stand in `doomed_blobs` then. An identity that has no tracklet left goes with the verdicts on
    it and all numbers that led to it; the spans of the others shrink. `erasure` is the number of the one that asks.
    """
    whose = _identities(connection, names)
    gone = numbers_of(connection, whose if erasure is not None else ())
    found = Found(
        tracklets=len(names),
        crops=doom_crops(connection, database, names, erasure),
        vectors=forget_vectors(connection, names),
        events=_scrub_events(connection, names),
        corrections=_scrub_corrections(connection, names, gone),
    )
    raised = 0
    for part in in_parts(names):
        own = select(func.count()).select_from(alerts).where(alerts.c.tracklet_id.in_(part))
        raised += connection.execute(own).scalar_one()
        connection.execute(delete(tracklets).where(tracklets.c.tracklet_id.in_(part)))
    return found.model_copy(update={"alerts": raised, "verdicts": _count_again(connection, whose)})


def doom_crops(
    connection: Connection, database: Database, names: Sequence[TrackletId], erasure: int | None = None
) -> int:
    """Remove the rows of crops and remember their blobs for removal; returns how many rows there were."""
    removed = 0
    for part in in_parts(names):
        keys = connection.execute(select(crops.c.blob_key).where(crops.c.tracklet_id.in_(part))).scalars().all()
        if keys:
            doomed = [{"blob_key": key, "erasure": erasure} for key in dict.fromkeys(keys)]
            database.insert_new(connection, doomed_blobs, doomed)
            connection.execute(delete(crops).where(crops.c.tracklet_id.in_(part)))
            removed += len(keys)
    return removed


def forget_vectors(connection: Connection, names: Sequence[TrackletId]) -> int:
    """Remove the vectors of every model, and what is known of those that none could be made of."""
    removed = 0
    for part in in_parts(names):
        removed += connection.execute(delete(embeddings).where(embeddings.c.tracklet_id.in_(part))).rowcount
        connection.execute(delete(embedding_failures).where(embedding_failures.c.tracklet_id.in_(part)))
    return removed


def numbers_of(connection: Connection, global_ids: Iterable[int]) -> set[int]:
    """Identities with all that were merged into them, directly or not."""
    found: set[int] = set()
    fresh = set(global_ids)
    while fresh:
        found |= fresh
        led = (
            select(identities.c.global_id).where(identities.c.merged_into.in_(part)) for part in in_parts(sorted(fresh))
        )
        fresh = {number for query in led for number in connection.execute(query).scalars()} - found
    return found


def scrub_mentions(connection: Connection, global_ids: Sequence[int], after_event: int, up_to_event: int) -> int:
    """Take persons out of the evidence and the reasons of a range of events about others; returns of how many."""
    columns = identity_events.c
    # As text, so that the database finds them without giving out every event. Earlier releases wrote a space.
    told = or_(
        *(cast(columns.evidence, Text).like(f'%"global_id":{gap}{one},%') for one in global_ids for gap in ("", " ")),
        *(columns.reason.like(f"%person_ %{number}%") for number in global_ids),
        *(columns.reason.like(f"%person {number}%") for number in global_ids),
    )
    query = select(columns.event_id, columns.reason, columns.evidence)
    is_in_range = (columns.event_id > after_event) & (columns.event_id <= up_to_event)
    scrubbed = 0
    for row in connection.execute(query.where(is_in_range, told)).all():
        values = _without_mentions(row.reason, row.evidence, set(global_ids))
        if values:
            connection.execute(update(identity_events).where(columns.event_id == row.event_id).values(values))
            scrubbed += 1
    return scrubbed


def _without_mentions(reason: str, evidence: Any, global_ids: Collection[int]) -> dict[str, Any]:
    """What changes of an event, as columns."""
    values: dict[str, Any] = {}
    if any(int(number) in global_ids for pair in _PERSONS.findall(reason) for number in pair if number):
        values["reason"] = _SCRUBBED
    if evidence is not None:
        known = Evidence.model_validate(evidence)
        candidates = tuple(each for each in known.candidates if each.global_id not in global_ids)
        if len(candidates) < len(known.candidates):
            kept = known.model_copy(update={"candidates": candidates})
            values |= {"reason": _SCRUBBED, "evidence": kept}
    return values


def _identities(connection: Connection, names: Sequence[TrackletId]) -> list[GlobalId]:
    found: set[int] = set()
    for part in in_parts(names):
        query = select(tracklets.c.global_id).where(tracklets.c.tracklet_id.in_(part))
        found |= set(connection.execute(query.where(tracklets.c.global_id.is_not(None)).distinct()).scalars())
    return [GlobalId(number) for number in sorted(found)]


def _scrub_events(connection: Connection, names: Sequence[TrackletId]) -> int:
    """Remove the decisions about tracklets, and the tracklets from the merges and splits that moved them."""
    decisions: list[int] = []
    for part in in_parts(names):
        query = select(tracklets.c.assigned_event).where(tracklets.c.tracklet_id.in_(part))
        decisions += connection.execute(query.where(tracklets.c.assigned_event.is_not(None))).scalars()
    persons: set[int] = set()
    for numbers in in_parts(decisions):
        is_decision = identity_events.c.event_id.in_(numbers)
        persons |= set(connection.execute(select(identity_events.c.global_id).where(is_decision)).scalars())
        connection.execute(delete(identity_events).where(is_decision))
    return len(decisions) + _scrub_moves(connection, set(names), persons)


def _scrub_moves(connection: Connection, names: set[TrackletId], persons: set[int]) -> int:
    """Followed from person to person, because few events tell of each."""
    scrubbed, followed = 0, set[int]()
    while fresh := persons - followed:
        followed |= fresh
        for part in in_parts(sorted(fresh)):
            columns = select(identity_events.c.event_id, identity_events.c.global_id, identity_events.c.tracklet_ids)
            for row in connection.execute(columns.where(identity_events.c.from_global_id.in_(part))).all():
                kept = [name for name in row.tracklet_ids if name not in names]
                if len(kept) < len(row.tracklet_ids):
                    scrubbed += 1
                    persons.add(row.global_id)
                    _rewrite_event(connection, row.event_id, kept)
    return scrubbed


def _rewrite_event(connection: Connection, event_id: int, tracklet_ids: Sequence[str]) -> None:
    this = identity_events.c.event_id == event_id
    if tracklet_ids:
        connection.execute(update(identity_events).where(this).values(tracklet_ids=list(tracklet_ids)))
    else:
        connection.execute(delete(identity_events).where(this))


def _scrub_corrections(connection: Connection, names: Sequence[TrackletId], global_ids: Collection[int]) -> int:
    """All of them are looked through: people make few."""
    gone = set(names)
    known = [correction_of(row) for row in connection.execute(select(corrections)).all()]
    changed = {each.number: left for each in known if (left := without(each, gone, global_ids)) is not each}
    for before in known:
        this = corrections.c.number == before.number
        if before.number in changed:
            after = changed[before.number]
            _rename_reasons(connection, before.number, before.request.made_by, before.event_ids)
            if after is None:
                connection.execute(delete(corrections).where(this))
                continue
            values = {
                "tracklet_ids": list(after.request.tracklet_ids),
                "note": "",
                "outcome": after.outcome,
                "one_side": list(after.one_side),
                "other_side": list(after.other_side),
            }
            connection.execute(update(corrections).where(this).values(values))
        elif before.request.kind is CorrectionKind.UNDO and before.request.undoes in changed:
            _rename_reasons(connection, before.number, before.request.made_by, before.event_ids)
            connection.execute(update(corrections).where(this).values(note=""))
    return len(changed)


def _rename_reasons(connection: Connection, number: int, made_by: str, event_ids: Sequence[int]) -> None:
    """The events of a correction repeat its note."""
    for part in in_parts(event_ids):
        these = update(identity_events).where(identity_events.c.event_id.in_(part))
        connection.execute(these.values(reason=f"correction {number} by {made_by}"))


def _count_again(connection: Connection, global_ids: Sequence[GlobalId]) -> int:
    """Tracklets and spans of identities that have lost some; those without any go, with all that led to them and what
    was said about them as answers. Returns how many of these verdicts there were."""
    left: dict[int, Any] = {}
    for part in in_parts(global_ids):
        spans = (
            select(
                tracklets.c.global_id,
                func.count().label("tracklets"),
                func.min(tracklets.c.started_at).label("first_seen_at"),
                func.max(tracklets.c.ended_at).label("last_seen_at"),
            )
            .where(tracklets.c.global_id.in_(part))
            .group_by(tracklets.c.global_id)
        )
        left |= {row.global_id: row for row in connection.execute(spans)}
    if left:
        shrink = update(identities).where(identities.c.global_id == bindparam("which"))
        columns = ("tracklets", "first_seen_at", "last_seen_at")
        connection.execute(
            shrink.values({name: bindparam(f"new_{name}") for name in columns}),
            [
                {"which": row.global_id} | {f"new_{name}": getattr(row, name) for name in columns}
                for row in left.values()
            ],
        )
    empty = numbers_of(connection, set(global_ids) - left.keys())
    verdicts = 0
    for numbers in in_parts(sorted(empty)):
        connection.execute(delete(identities).where(identities.c.global_id.in_(numbers)))
        is_about = search_verdicts.c.global_id.in_(numbers)
        verdicts += connection.execute(delete(search_verdicts).where(is_about)).rowcount
    if verdicts:  # standing queries go by them
        advance(connection, "standing_change", locked(connection, "standing_change") + 1)
    return verdicts
