"""Which tracks were erased: by marks that are hashes and tell nothing, in the transaction of whoever asks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, tuple_

from pipeline.adapters.database import Database, in_parts
from pipeline.adapters.retention_store import is_past
from pipeline.adapters.schema import erased_tracks, tracklets
from pipeline.contracts import GlobalId, TrackletCrops, TrackletEmbedding, TrackletId
from pipeline.forgetting import Kind, Span, erased_spans, sequence_of, track_mark, track_of

_MARKED = select(erased_tracks).where(erased_tracks.c.mark.in_(bindparam("marks", expanding=True)))


def gone_of(connection: Connection, seen: Sequence[TrackletCrops | TrackletEmbedding], kind: Kind) -> set[TrackletId]:
    """Which of these tracklets are not to be kept (any more): erased, or beyond the time of a kind.

    A transaction that writes the others shares `erasure` first, so that no removal comes in between.
    """
    erased = erased_of(connection, [each.tracklet_id for each in seen])
    past = is_past(connection, [(each.camera_id, each.started_at) for each in seen], kind)
    return erased | {each.tracklet_id for each, is_over in zip(seen, past, strict=True) if is_over}


def erased_of(connection: Connection, tracklet_ids: Sequence[TrackletId]) -> set[TrackletId]:
    marks = {name: track_mark(track_of(name)) for name in tracklet_ids}
    spans: dict[str, list[Row[Any]]] = {}
    for part in in_parts(sorted(set(marks.values()))):
        for row in connection.execute(_MARKED, {"marks": part}):
            spans.setdefault(row.mark, []).append(row)
    return {name for name, mark in marks.items() if any(_holds(row, name) for row in spans.get(mark, ()))}


def _holds(row: Row[Any], name: TrackletId) -> bool:
    return Span(row.mark, row.first_sequence, row.last_sequence).holds(sequence_of(name))


def belongings(connection: Connection, person: GlobalId) -> tuple[list[TrackletId], list[Span]]:
    """The tracklets that go with a person, those of her tracks without an identity included, and where in these tracks
    they lie."""
    track = (tracklets.c.camera_id, tracklets.c.boot_id, tracklets.c.track_id)
    tracks = connection.execute(select(*track).where(tracklets.c.global_id == person).distinct()).all()
    pieces: dict[str, list[tuple[TrackletId, int | None]]] = {}
    for part in in_parts(tracks):
        query = select(tracklets.c.tracklet_id, tracklets.c.global_id).where(tuple_(*track).in_(map(tuple, part)))
        for name, whose in connection.execute(query):
            pieces.setdefault(track_of(TrackletId(name)), []).append((TrackletId(name), whose))
    names: list[TrackletId] = []
    spans: list[Span] = []
    for name, own in pieces.items():
        found = erased_spans(name, [(sequence_of(each), whose == person) for each, whose in own if whose is not None])
        spans += found
        names += [each for each, _ in own if any(span.holds(sequence_of(each)) for span in found)]
    return names, spans


def mark_tracks(connection: Connection, database: Database, spans: Iterable[Span], expires_at: float) -> None:
    """Have pieces of these tracks refused until then."""
    rows = [
        {
            "mark": track_mark(span.track),
            "first_sequence": span.first,
            "last_sequence": span.last,
            "expires_at": expires_at,
        }
        for span in spans
    ]
    database.insert_new(connection, erased_tracks, rows)
