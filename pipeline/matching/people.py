"""What the matcher remembers about people: a cache of the database, rebuilt from it and never ahead of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.contracts import F32, I64, CameraId, GlobalId, TrackletEmbedding, unpack_vector
from pipeline.decisions import Decision
from pipeline.interfaces import Gallery, GalleryRows
from pipeline.matching.assignment import (
    Arrival,
    Candidates,
    Standing,
    TrackKey,
    arrivals_of,
    assign,
    rounded,
)
from pipeline.matching.calibration import Calibration, LookCurve, StrangerPrior
from pipeline.matching.exemplars import Exemplar, ExemplarBook, draw
from pipeline.matching.identities import IdentityBook
from pipeline.matching.laws import Laws
from pipeline.matching.tracks import TrackBook


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """How much is remembered, and how much of it is looked at."""

    false_match_budget: float = 0.05  # the share of joins that may be wrong
    identities: int = 100_000  # live ones; the least recently seen are forgotten, and stay in the database
    exemplars: int = 12  # per identity
    exemplars_per_camera: int = 4
    tracks_per_camera: int = 4096
    top_k: int = 32  # identities that look most alike, with which an arrival is compared
    recent: int = 64  # identities seen last, with which every arrival is compared
    strangers: StrangerPrior = field(default_factory=StrangerPrior)
    curve: LookCurve = field(default_factory=LookCurve)


class People:
    """Gallery, exemplars and recent tracks, which only ever change together.

    The same rows in the same order leave the same memory, whether they came in micro-batches or from the database at a
    restart; so a restarted matcher goes on as if nothing had happened.
    """

    def __init__(self, gallery: Gallery, dimension: int, config: MemoryConfig) -> None:
        """`gallery` must be empty; its rows are global identities and the means of their exemplars."""
        self.config = config
        self.calibration = Calibration.first(
            dimension, config.strangers, least_probability(config.false_match_budget), config.curve
        )
        self._gallery = gallery
        self.exemplars = ExemplarBook(dimension, config.exemplars_per_camera, config.exemplars)
        self.identities = IdentityBook(dimension)
        self.tracks = TrackBook(config.tracks_per_camera)
        self.doubts: dict[GlobalId, dict[GlobalId, float]] = {}
        self.laws = Laws()  # set by whoever reads the corrections

    def __len__(self) -> int:
        """Identities that are remembered."""
        return len(self.identities)

    def decide(self, batch: Sequence[TrackletEmbedding], first_new_id: GlobalId) -> list[Decision]:
        """Identities for one micro-batch of unknown tracklets, in time order. Changes nothing: `remember` does."""
        arrivals = arrivals_of(batch)
        standings = [
            Standing(
                bound_to=self.laws.bound(arrival.pieces[0].tracklet_id) or self.tracks.identity(arrival.track),
                present=self.tracks.present(arrival.camera_id, arrival.started_at, arrival.ended_at, arrival.track),
            )
            for arrival in arrivals
        ]
        candidates = self._candidates(arrivals, standings)
        budget = self.config.false_match_budget
        verdicts = assign(arrivals, standings, candidates, first_new_id, self.calibration, budget)
        self.pending = {v.global_id: v.doubts for v in verdicts if v.is_new}
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

    def remember(self, rows: GalleryRows, strangers=None) -> None:
        """Take committed rows in, in the order of the database."""
        vectors = _unit(rows.vectors)
        halves = vectors.astype(np.float16)
        for place, (name, camera_id) in enumerate(zip(rows.tracklet_ids, rows.camera_ids, strict=True)):
            track = (str(camera_id), rows.boot_ids[place], int(rows.track_ids[place]))
            global_id = GlobalId(int(rows.global_ids[place]))
            started_at, ended_at = float(rows.started_at[place]), float(rows.ended_at[place])
            self.tracks.record(track, started_at, ended_at, global_id, float(strangers[place]) if strangers is not None else 0.0)
            self.identities.see(global_id, track[0], started_at, ended_at)
            exemplar = Exemplar(draw(name, started_at), name, track, started_at)
            self.exemplars.add(global_id, exemplar, halves[place])
        self.doubts.update(self.pending)
        self.refresh(np.unique(rows.global_ids).tolist())
        self._forget_oldest()

    def refresh(self, global_ids: Iterable[GlobalId]) -> None:
        """The looks of identities whose exemplars have changed."""
        changed = list(global_ids)
        for global_id in changed:
            exemplars = self.exemplars.of(global_id)
            places = self.places_of(exemplars)
            looks = self.calibration.looks(self.exemplars.vectors(exemplars), places)
            counts = np.bincount(places, minlength=len(self.calibration.cameras) + 1)
            self.identities.describe(global_id, looks.mean(axis=0), counts)
        if changed:
            numbers = np.array(changed, np.int64)
            self._gallery.add(numbers, self.identities.looks(numbers))

    def places_of(self, exemplars: Sequence[Exemplar]) -> I64:
        return np.array([self.calibration.place(exemplar.track[0]) for exemplar in exemplars], np.int64)

    def nearest(self, looks: F32) -> I64:
        """Identities that some of `looks` (N, D) resemble most, and those seen last; ascending."""
        found = self.identities.newest(self.config.recent)
        if len(looks) and len(self):
            rows, _ = self._gallery.nearest(looks, self.config.top_k)
            found = np.concatenate([found, rows.ravel()])
        numbers = np.unique(found)
        return numbers[numbers > 0]

    def calibrate(self, calibration: Calibration) -> None:
        """See everybody with other eyes."""
        self.calibration = calibration
        self.identities.widen(len(calibration.cameras) + 1)
        self.refresh(self.exemplars.identities())

    def merge(self, into: GlobalId, other: GlobalId) -> None:
        """Two identities were one person."""
        seen_at, camera_id = self.identities.last_seen(other)
        self.identities.see(into, camera_id, self.identities.first_seen_at(other), seen_at)
        self.identities.forget(other)
        self._gallery.remove(np.array([other], np.int64))
        self.exemplars.join(into, other)
        for track in self.tracks.tracks(other):
            self.tracks.give(track, into)
        mine = self.doubts.pop(other, {})
        self.doubts.setdefault(into, {}).update({k: v for k, v in mine.items() if k != into})
        for d in self.doubts.values():
            if other in d:
                d[into] = max(d.pop(other), d.get(into, 0.0))
        self.doubts[into].pop(into, None)
        self.refresh([into])

    def _forget_oldest(self) -> None:
        oldest = self.identities.beyond(self.config.identities)
        if len(oldest):
            self._gallery.remove(oldest)
            for global_id in oldest.tolist():
                self.exemplars.forget(GlobalId(global_id))
                self.identities.forget(GlobalId(global_id))

    def _candidates(self, arrivals: Sequence[Arrival], standings: Sequence[Standing]) -> Candidates:
        """Whoever is among the nearest of any arrival or was seen last, and whoever an arrival is bound to."""
        places = np.array([self.calibration.place(arrival.camera_id) for arrival in arrivals], np.int64)
        looks = self.calibration.looks(np.stack([arrival.vector for arrival in arrivals]), places)
        is_open = [standing.bound_to is None for standing in standings]
        bound = [standing.bound_to for standing in standings if standing.bound_to in self.identities]
        numbers = np.unique(np.concatenate([self.nearest(looks[is_open]), np.array(bound, np.int64)]))
        found = self.identities.candidates(numbers, rounded(looks @ self.identities.looks(numbers).T), self.calibration)
        doubts = {number: self.doubts[number] for number in numbers.tolist() if number in self.doubts}
        return dataclasses.replace(found, doubts=doubts)


def least_probability(budget: float) -> float:
    """Of a join, before a site has shown how sure its joins are: those that are made are then wrong by half as much
    on average, if they are spread evenly."""
    return 1.0 - min(2.0 * budget, 0.5)


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
