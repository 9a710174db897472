"""What the matcher remembers about people: a cache of the database, rebuilt from it and never ahead of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.contracts import F32, CameraId, GlobalId, TrackletEmbedding, unpack_vector
from pipeline.decisions import Decision, Revision
from pipeline.interfaces import Gallery, GalleryRows
from pipeline.matching.assignment import (
    Arrival,
    AssignmentConfig,
    Candidates,
    Standing,
    TrackKey,
    arrivals_of,
    assign,
    rounded,
)
from pipeline.matching.exemplars import Exemplar, ExemplarBook
from pipeline.matching.laws import Laws
from pipeline.matching.tracks import TrackBook


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """How much is remembered, and how much of it is looked at."""

    exemplars: int = 12  # gallery rows per identity
    tracks_per_camera: int = 4096
    top_k: int = 32  # gallery rows whose identities an arrival is compared with
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
        self.laws = Laws()  # set by whoever reads the corrections

    def __len__(self) -> int:
        """Gallery rows held."""
        return len(self._exemplars)

    def decide(self, batch: Sequence[TrackletEmbedding], first_new_id: GlobalId) -> list[Decision]:
        """Identities for one micro-batch of unknown tracklets, in time order. Changes nothing: `remember` does."""
        arrivals = arrivals_of(batch)
        standings = [
            Standing(
                bound_to=self.laws.bound(arrival.pieces[0].tracklet_id) or self._tracks.identity(arrival.track),
                present=self._tracks.present(arrival.camera_id, arrival.started_at, arrival.ended_at, arrival.track),
            )
            for arrival in arrivals
        ]
        candidates = self._candidates(arrivals, standings)
        verdicts = assign(arrivals, standings, candidates, first_new_id, self._config.assignment)
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
        for place, track in enumerate(_tracks_of(rows)):
            global_id = GlobalId(int(rows.global_ids[place]))
            self._tracks.record(track, float(rows.started_at[place]), float(rows.ended_at[place]), global_id)
        self._keep(rows)

    def revise(self, revisions: Sequence[Revision], rows: GalleryRows) -> None:
        """Follow committed revisions. `rows` is what the persons whom they touch have now, in the order of decisions.

        It leaves the memory that a rebuild from the database would give.
        """
        touched = {global_id for each in revisions for global_id in (each.from_id, each.to_id)}
        given_up = [row for global_id in sorted(touched) for row in self._exemplars.forget(global_id)]
        if given_up:
            self._gallery.remove(np.array(given_up, np.int64))
        self._keep(rows)
        whose: dict[TrackKey, GlobalId] = {}
        for place, track in enumerate(_tracks_of(rows)):
            whose.setdefault(track, GlobalId(int(rows.global_ids[place])))
        for track, global_id in whose.items():
            if self._tracks.identity(track) in touched:
                self._tracks.rename(track, global_id)

    def _keep(self, rows: GalleryRows) -> None:
        added: dict[int, int] = {}  # gallery row → place in `rows`
        removed: list[int] = []
        vectors = _unit(rows.vectors)
        halves = vectors.astype(np.float16)
        for place, track in enumerate(_tracks_of(rows)):
            global_id, started_at = GlobalId(int(rows.global_ids[place])), float(rows.started_at[place])
            added[self._next_row] = place
            lost = self._exemplars.add(Exemplar(self._next_row, global_id, track, started_at, halves[place]))
            self._next_row += 1
            if lost is not None and added.pop(lost, None) is None:
                removed.append(lost)
        if removed:
            self._gallery.remove(np.array(removed, np.int64))
        if added:
            self._gallery.add(np.array(list(added), np.int64), vectors[list(added.values())])

    def _candidates(self, arrivals: Sequence[Arrival], standings: Sequence[Standing]) -> Candidates:
        """Whoever is among the nearest of any arrival, and whoever an arrival is bound to."""
        found = {standing.bound_to for standing in standings if standing.bound_to is not None}
        open_arrivals = [a.vector for a, standing in zip(arrivals, standings, strict=True) if standing.bound_to is None]
        if open_arrivals and len(self):
            rows, _ = self._gallery.nearest(np.stack(open_arrivals), self._config.top_k)
            found |= {self._exemplars.identity(row) for row in np.unique(rows).tolist() if row >= 0}
        global_ids = sorted(found)
        if not global_ids:
            return Candidates([], [], np.zeros(0, np.int64), np.zeros((len(arrivals), 0)))
        means = np.stack([self._exemplars.mean(global_id) for global_id in global_ids])
        return Candidates(
            global_ids=global_ids,
            camera_ids=[self._exemplars.of(global_id)[-1].track[0] for global_id in global_ids],
            exemplars=np.array([len(self._exemplars.of(global_id)) for global_id in global_ids], np.int64),
            similarities=rounded(np.stack([arrival.vector for arrival in arrivals]) @ means.T),
        )


def rows_of(decisions: Sequence[Decision]) -> GalleryRows:
    """Decisions as the database will give them back."""
    return rows_with([made.embedding for made in decisions], [made.global_id for made in decisions])


def rows_with(pieces: Sequence[TrackletEmbedding], global_ids: Sequence[GlobalId]) -> GalleryRows:
    """Tracklets beside their identities as the database will give them back."""
    return GalleryRows(
        tracklet_ids=[piece.tracklet_id for piece in pieces],
        global_ids=np.array(global_ids, np.int64),
        camera_ids=[CameraId(piece.camera_id) for piece in pieces],
        boot_ids=[piece.boot_id for piece in pieces],
        track_ids=np.array([piece.track_id for piece in pieces], np.int64),
        started_at=np.array([piece.started_at for piece in pieces]),
        ended_at=np.array([piece.ended_at for piece in pieces]),
        vectors=np.stack([unpack_vector(piece.appearance) for piece in pieces]),
    )


def _tracks_of(rows: GalleryRows) -> list[TrackKey]:
    cameras, boots, numbers = rows.camera_ids, rows.boot_ids, rows.track_ids.tolist()
    return [
        (str(camera_id), boot_id, number) for camera_id, boot_id, number in zip(cameras, boots, numbers, strict=True)
    ]


def _unit(vectors: F32) -> F32:
    """(N, D) rows of unit length: half precision on the wire leaves them off by up to a thousandth."""
    unit: F32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
