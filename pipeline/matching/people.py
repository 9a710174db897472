"""What the matcher remembers about people: a cache of the database, rebuilt from it and never ahead of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.contracts import F32, CameraId, GlobalId, TrackletEmbedding, unpack_vector
from pipeline.interfaces import Decision, Gallery, GalleryRows
from pipeline.matching.assignment import (
    Arrival,
    AssignmentConfig,
    Evidence,
    Resemblance,
    arrivals_of,
    assign,
    rounded,
)
from pipeline.matching.exemplars import Exemplar, ExemplarBook
from pipeline.matching.tracks import TrackBook


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """How much is remembered, and how much of it is looked at."""

    exemplars: int = 12  # gallery rows per identity
    tracks_per_camera: int = 4096
    top_k: int = 48  # gallery rows that an arrival is compared with
    assignment: AssignmentConfig = field(default_factory=AssignmentConfig)


class People:
    """Gallery, exemplars and recent tracks, which only ever change together.

    The same rows in the same order leave the same memory, whether they came in micro-batches or from the database at a
    restart; so a restarted matcher goes on as if nothing had happened.
    """

    def __init__(self, gallery: Gallery, config: MemoryConfig) -> None:
        self._gallery = gallery
        self._config = config
        self._exemplars = ExemplarBook(config.exemplars)
        self._tracks = TrackBook(config.tracks_per_camera)
        self._next_row = 0

    def __len__(self) -> int:
        """Gallery rows held."""
        return len(self._exemplars)

    def decide(self, batch: Sequence[TrackletEmbedding], first_new_id: GlobalId) -> list[Decision]:
        """Identities for one micro-batch of unknown tracklets, in time order. Changes nothing: `remember` does."""
        arrivals = arrivals_of(batch)
        evidence = self._evidence(arrivals)
        verdicts = assign(arrivals, evidence, first_new_id, self._config.assignment)
        decisions = [
            Decision(
                embedding=piece,
                global_id=verdict.global_id,
                is_new=verdict.is_new and place == 0,
                confidence=verdict.confidence,
                reason=verdict.reason,
            )
            for arrival, verdict in zip(arrivals, verdicts, strict=True)
            for place, piece in enumerate(arrival.pieces)
        ]
        return sorted(decisions, key=lambda made: (made.embedding.started_at, made.embedding.tracklet_id))

    def remember(self, rows: GalleryRows) -> None:
        """Take committed rows in, in the order of the database."""
        added: dict[int, int] = {}  # gallery row → place in `rows`
        removed: list[int] = []
        for place, camera_id in enumerate(rows.camera_ids):
            track = (str(camera_id), rows.boot_ids[place], int(rows.track_ids[place]))
            global_id = GlobalId(int(rows.global_ids[place]))
            started_at = float(rows.started_at[place])
            self._tracks.record(track, started_at, float(rows.ended_at[place]), global_id)
            added[self._next_row] = place
            lost = self._exemplars.add(Exemplar(self._next_row, global_id, track, started_at))
            self._next_row += 1
            if lost is not None and added.pop(lost, None) is None:
                removed.append(lost)
        if removed:
            self._gallery.remove(np.array(removed, np.int64))
        if added:
            vectors = rows.vectors[list(added.values())]
            self._gallery.add(np.array(list(added), np.int64), _unit(vectors))

    def _evidence(self, arrivals: Sequence[Arrival]) -> list[Evidence]:
        bound = [self._tracks.identity(arrival.track) for arrival in arrivals]
        searched = [place for place, global_id in enumerate(bound) if global_id is None]
        resemblances = dict(zip(searched, self._resemblances([arrivals[place] for place in searched]), strict=True))
        return [
            Evidence(
                bound_to=bound[place],
                resemblances=resemblances.get(place, ()),
                present=self._tracks.present(arrival.camera_id, arrival.started_at, arrival.ended_at, arrival.track),
            )
            for place, arrival in enumerate(arrivals)
        ]

    def _resemblances(self, arrivals: Sequence[Arrival]) -> list[tuple[Resemblance, ...]]:
        if not arrivals or not len(self):
            return [() for _ in arrivals]
        vectors = np.stack([arrival.vector for arrival in arrivals])
        rows, similarities = self._gallery.nearest(vectors, self._config.top_k)
        return [
            tuple(
                Resemblance(self._exemplars[row].global_id, similarity, self._exemplars[row].track)
                for row, similarity in zip(found, alike, strict=True)
                if row >= 0
            )
            for found, alike in zip(rows.tolist(), rounded(similarities).tolist(), strict=True)
        ]


def rows_of(decisions: Sequence[Decision]) -> GalleryRows:
    """Decisions as the database will give them back."""
    pieces = [decision.embedding for decision in decisions]
    return GalleryRows(
        tracklet_ids=[piece.tracklet_id for piece in pieces],
        global_ids=np.array([decision.global_id for decision in decisions], np.int64),
        camera_ids=[CameraId(piece.camera_id) for piece in pieces],
        boot_ids=[piece.boot_id for piece in pieces],
        track_ids=np.array([piece.track_id for piece in pieces], np.int64),
        started_at=np.array([piece.started_at for piece in pieces]),
        ended_at=np.array([piece.ended_at for piece in pieces]),
        vectors=np.stack([unpack_vector(piece.appearance) for piece in pieces]),
    )


def _unit(vectors: F32) -> F32:
    """(N, D) rows of unit length: half precision on the wire leaves them off by up to a thousandth."""
    unit: F32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
