"""What the matcher remembers about people: a cache of the database, rebuilt from it and never ahead of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from pipeline.contracts import F32, F64, I64, CameraId, GlobalId, TrackletEmbedding, TrackletId, unpack_vector
from pipeline.decisions import Decision, Revision
from pipeline.gallery import Gallery
from pipeline.kept import GalleryRows, Thoughts
from pipeline.matching.assignment import Standing, arrivals_of, assign, least_for
from pipeline.matching.calibration import Calibration
from pipeline.matching.camera_numbers import CameraNumbers
from pipeline.matching.evidence import LOOK_LIMIT, Arrival, Candidates, TrackKey, rounded
from pipeline.matching.exemplars import ExemplarBook
from pipeline.matching.identities import IdentityBook
from pipeline.matching.laws import Laws
from pipeline.matching.looks import LookPrior
from pipeline.matching.tracks import Odds, TrackBook

_SURER = 0.9  # measured where people look alike
_BLOCK = 32  # identities described at once: their vectors stay in the cache
_ALONE = 8  # blocks that one thread has described before another one helps
_TOLD = 128 * _BLOCK  # identities that the gallery is told of at once, while others are described


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """How much is remembered, and how much of it is looked at."""

    false_match_budget: float = 0.1  # the share of joins that may be wrong
    identities: int = 100_000  # live ones; the least recently seen are forgotten, and stay in the database
    exemplars: int = 12  # per identity
    exemplars_per_camera: int = 4
    tracks_per_camera: int = 4096
    top_k: int = 32  # identities that look most alike, with which an arrival is compared
    recent: int = 64  # identities seen last, with which every arrival is compared
    prior: LookPrior = field(default_factory=LookPrior)

    @property
    def aimed_at(self) -> float:
        """Joins that may be wrong by what is said of them; they are wrong a little more often than that."""
        return _SURER * self.false_match_budget


class People:
    """Gallery, exemplars, identities and recent tracks, which only ever change together.

    The same rows in the same order leave the same memory, whether they came in micro-batches or from the database at a
    restart; so a restarted matcher goes on as if nothing had happened.
    """

    def __init__(
        self, gallery: Gallery, dimension: int, config: MemoryConfig, calibration: Calibration | None = None
    ) -> None:
        """`gallery` must be empty; its rows are global identities and the means of their exemplars' looks."""
        self.config = config
        self.calibration = calibration or Calibration.first(dimension, config.prior)
        self.laws = Laws()  # set by whoever reads the corrections
        self.exemplars = ExemplarBook(dimension, config.exemplars_per_camera, config.exemplars)
        self.identities = IdentityBook(dimension, len(self.calibration.cameras) + 1)
        self.tracks = TrackBook(config.tracks_per_camera)
        self.tracklets = 0  # that were ever remembered
        self._gallery = gallery
        self._changed: dict[GlobalId, None] = {}  # whose looks are not up to date

    def __len__(self) -> int:
        """Identities that are remembered."""
        return len(self.identities)

    @property
    def least_probability(self) -> float:
        """Of a join."""
        return self.calibration.least_probability or least_for(self.config.aimed_at, np.zeros(0))

    def decide(self, batch: Sequence[TrackletEmbedding], first_new_id: GlobalId) -> list[Decision]:
        """Identities for one micro-batch of unknown tracklets, in time order; final once `remember`ed."""
        self.describe()
        arrivals = arrivals_of(batch, self.calibration.clock_s)
        standings = [
            Standing(
                bound_to=self.laws.bound(arrival.pieces[0].tracklet_id) or self.tracks.identity(arrival.track),
                present=self.tracks.present(arrival.camera_id, arrival.started_at, arrival.ended_at, arrival.track),
            )
            for arrival in arrivals
        ]
        candidates = self._candidates(arrivals, standings)
        budget = self.config.false_match_budget
        least = self.least_probability
        verdicts = assign(arrivals, standings, candidates, first_new_id, self.calibration, least, budget)
        decisions = [
            Decision(
                embedding=piece,
                global_id=verdict.global_id,
                is_new=verdict.is_new and place == 0,
                confidence=verdict.confidence,
                reason=verdict.reason,
                is_tentative=verdict.is_tentative,
                evidence=verdict.evidence if place == 0 else None,
            )
            for arrival, verdict in zip(arrivals, verdicts, strict=True)
            for place, piece in enumerate(arrival.pieces)
        ]
        return sorted(decisions, key=lambda made: (made.embedding.started_at, made.embedding.tracklet_id))

    def remember(self, rows: GalleryRows) -> None:
        """Take committed rows in, in the order of the database."""
        rows = self._in_one_time(rows)
        self._record(tracks_of(rows), _numbers_of(rows))
        self.tracklets += len(rows.tracklet_ids)
        self._keep(rows)

    def expect(self, tracklets: int) -> None:
        """Make room for what stays of so many, which saves copying it over and over while it grows."""
        self.exemplars.reserve(min(tracklets, self.config.identities * self.config.exemplars))

    def recall(self, pages: Iterable[GalleryRows], thoughts: Callable[[I64], Thoughts] | None = None) -> None:
        """`remember` everything there is, page after page, in an empty memory; most tracks are long forgotten.

        So `thoughts` may tell, by places among all rows, ascending, what the pages leave out.
        """
        cameras, boots = CameraNumbers(), CameraNumbers()
        tracks = [np.zeros((0, 3), np.int64)]  # camera, boot and number of each
        numbers = [np.zeros((0, 6))]
        for rows in map(self._in_one_time, pages):
            tracks.append(np.stack([cameras.of(rows.camera_ids), boots.of(rows.boot_ids), rows.track_ids], axis=1))
            numbers.append(_numbers_of(rows))
            self.tracklets += len(rows.tracklet_ids)
            self._keep(rows)
            if not len(self._gallery) and len(self._changed) >= _TOLD:
                # For so many the gallery has to load something, which it does while the next pages are read.
                self._describe(list(islice(self._changed, _TOLD)))
        pieces = np.concatenate(tracks)
        with ThreadPoolExecutor(1) as beside:
            described = beside.submit(self.describe)  # which has nothing to do with tracks
            places = self.tracks.lasting(*pieces.T)
            named = [
                (cameras.names[camera], boots.names[boot], track) for camera, boot, track in pieces[places].tolist()
            ]
            lasting = np.concatenate(numbers)[places]
            if thoughts is not None and len(places):
                told = thoughts(places)
                lasting[:, 3:] = np.stack([told.newness, told.likeliest, told.decided_at - lasting[:, 2]], axis=1)
            self._record(named, lasting)
            described.result()

    def revise(self, revisions: Sequence[Revision], rows: GalleryRows) -> None:
        """Follow committed revisions. `rows` is what the persons whom they touch have now, in the order of decisions.

        It leaves the memory that a rebuild from the database would give.
        """
        rows = self._in_one_time(rows)
        touched = {global_id for each in revisions for global_id in (each.from_id, each.to_id)}
        self._forget([global_id for global_id in sorted(touched) if global_id in self.identities])
        tracks, whose = tracks_of(rows), [GlobalId(number) for number in rows.global_ids.tolist()]
        first: dict[TrackKey, GlobalId] = {}
        for track, global_id in zip(tracks, whose, strict=True):
            first.setdefault(track, global_id)
        for track, global_id in first.items():
            if self.tracks.identity(track) in touched:
                self.tracks.give(track, global_id)
        self._keep(rows)

    def merge(self, merges: Sequence[Revision]) -> None:
        """Follow committed merges of remembered identities, each of which is in one of them at most: as `revise`,
        without asking the database."""
        into, others = [each.to_id for each in merges], [each.from_id for each in merges]
        seen = [self.identities.last_seen(other) for other in others]
        self.identities.see(
            np.array(into, np.int64), [camera_id for _, camera_id in seen], np.array([seen_at for seen_at, _ in seen])
        )
        self.exemplars.join(into, others)
        self._gallery.remove(np.array(others, np.int64))
        for one, other in zip(into, others, strict=True):
            for track in self.tracks.tracks(other):
                self.tracks.give(track, one)
            self.identities.forget(other)
            self._changed.pop(other, None)
            self._changed[one] = None

    def begun_before(self, kept_from: Mapping[CameraId, float]) -> list[GlobalId]:
        """Identities with an exemplar that began before the moment from which those of its camera are kept, by its own
        clock. Rounding may add one that began in that very moment."""
        by_one_clock = {name: at - self.calibration.clock_s(name) for name, at in kept_from.items()}
        return self.exemplars.begun_by(by_one_clock)

    def reload(self, global_ids: Sequence[GlobalId], rows: GalleryRows) -> None:
        """Begin the looks of some identities anew: `rows` is all that is left of them, in the order of decisions."""
        self._forget(global_ids)
        self._keep(self._in_one_time(rows))

    def calibrate(self, calibration: Calibration) -> None:
        """See everybody with other eyes, but by the `same_clocks`."""
        self.calibration = calibration
        self.identities.widen(len(calibration.cameras) + 1)
        self._changed = dict.fromkeys(self.exemplars.identities())

    def same_clocks(self, calibration: Calibration) -> bool:
        """Whether times are the same under another calibration; otherwise everything must be remembered anew."""
        cameras = {*calibration.cameras, *self.tracks.camera_ids}
        return all(calibration.clock_s(name) == self.calibration.clock_s(name) for name in cameras)

    def nearest(self, looks: F32, top_k: int | None = None) -> I64:
        """Identities that some of `looks` (N, D) resemble most, `top_k` for each, and those seen last; ascending."""
        found = self.identities.newest(self.config.recent)
        if len(looks) and len(self):
            rows, _ = self._gallery.nearest(looks, top_k or self.config.top_k)
            found = np.concatenate([found, rows.ravel()])
        numbers = np.unique(found)
        return numbers[numbers > 0]

    def look_odds(self, numbers: I64, similarities: F64, own: I64) -> F64:
        """(P,) log-odds from looks alone that identities `own` are those of the `numbers`."""
        whose, places_of = np.unique(own, return_inverse=True)
        cameras = [self.identities.last_seen(GlobalId(number))[1] for number in whose.tolist()]
        odds = self.calibration.look_odds(
            similarities,
            self.identities.exemplars(numbers),
            np.array([self.calibration.place(camera_id) for camera_id in cameras], np.int64)[places_of],
            self.identities.exemplars(whose).sum(axis=1).astype(np.float64)[places_of],
        )
        return odds.clip(-LOOK_LIMIT, LOOK_LIMIT)

    def _record(self, tracks: Sequence[TrackKey], numbers: F64) -> None:
        for track, (global_id, began, ended, *noted) in zip(tracks, numbers.tolist(), strict=True):
            self.tracks.record(track, began, ended, GlobalId(int(global_id)), Odds(*noted))

    def _in_one_time(self, rows: GalleryRows) -> GalleryRows:
        """The same by one clock for all cameras."""
        if not self.calibration.clocks_s.any():
            return rows
        fast_s = np.array([self.calibration.clock_s(camera_id) for camera_id in rows.camera_ids])
        return replace(rows, started_at=rows.started_at - fast_s, ended_at=rows.ended_at - fast_s)

    def _keep(self, rows: GalleryRows) -> None:
        if not len(rows.tracklet_ids):
            return
        names, cameras = rows.tracklet_ids, rows.camera_ids
        self.identities.see(rows.global_ids, cameras, rows.ended_at)
        halves = np.asarray(rows.vectors, np.float16)
        self._changed |= dict.fromkeys(self.exemplars.add(rows.global_ids, names, cameras, rows.started_at, halves))
        self._forget([GlobalId(number) for number in self.identities.beyond(self.config.identities).tolist()])

    def exemplar_looks(self, global_ids: Iterable[GlobalId]) -> tuple[F32, I64, I64]:
        """The exemplars of some identities, one after the other and of each the highest first: their looks (N, D), the
        places of their cameras (N,), and how many each identity has."""
        places_of = np.array([self.calibration.place(name) for name in self.exemplars.camera_ids], np.int64)
        slots, counts = self.exemplars.slots(global_ids)
        places = places_of[self.exemplars.cameras(slots)]
        return self.calibration.looks(self.exemplars.vectors(slots), places), places, counts

    def describe(self) -> None:
        """Bring the looks of identities up to date whose exemplars have changed."""
        self._describe(list(self._changed))

    def _describe(self, global_ids: Sequence[GlobalId]) -> None:
        numbers = np.array(global_ids, np.int64)
        for global_id in global_ids:
            del self._changed[global_id]
        blocks = [numbers[begin : begin + _BLOCK] for begin in range(0, len(numbers), _BLOCK)]
        # Threads help: nearly all of the work is done outside of Python's lock.
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            each = threads.map if len(blocks) > _ALONE else map
            described = iter(each(self._described, blocks))
            for begin in range(0, len(numbers), _TOLD):
                own = numbers[begin : begin + _TOLD]
                parts = islice(described, -(-len(own) // _BLOCK))
                means, held = (np.concatenate(column) for column in zip(*parts, strict=True))
                self.identities.describe(own, means, held)
                self._gallery.add(own, means)

    def _described(self, global_ids: I64) -> tuple[F32, I64]:
        """(I, D) mean looks of identities, and (I, A + 1) over how many exemplars of each camera."""
        looks, places, counts = self.exemplar_looks(global_ids.tolist())
        size = len(self.calibration.cameras) + 1
        cells = np.repeat(np.arange(len(global_ids)), counts) * size + places
        held = np.bincount(cells, minlength=len(global_ids) * size).reshape(len(global_ids), size)
        return _means(looks, counts), held

    def _forget(self, global_ids: Sequence[GlobalId]) -> None:
        if global_ids:
            self._gallery.remove(np.array(global_ids, np.int64))
        for global_id in global_ids:
            self.exemplars.forget(global_id)
            self.identities.forget(global_id)
            self._changed.pop(global_id, None)

    def _candidates(self, arrivals: Sequence[Arrival], standings: Sequence[Standing]) -> Candidates:
        """Whoever is among the nearest of any arrival or was seen last, and whoever an arrival is bound to."""
        places = np.array([self.calibration.place(arrival.camera_id) for arrival in arrivals], np.int64)
        looks = self.calibration.looks(np.stack([arrival.vector for arrival in arrivals]), places)
        is_open = [standing.bound_to is None for standing in standings]
        bound = [standing.bound_to for standing in standings if standing.bound_to in self.identities]
        numbers = np.unique(np.concatenate([self.nearest(looks[is_open]), np.array(bound, np.int64)]))
        similarities = rounded(looks @ self.identities.looks(numbers).T)
        return self.identities.candidates(numbers, similarities, self.calibration)


def rows_of(decisions: Sequence[Decision], decided_at: Sequence[float]) -> GalleryRows:
    """Decisions as the database will give them back."""
    odds = [(made.newness, made.likeliest) for made in decisions]
    return rows_with([made.embedding for made in decisions], [made.global_id for made in decisions], odds, decided_at)


def rows_with(
    pieces: Sequence[TrackletEmbedding],
    global_ids: Sequence[GlobalId],
    odds: Sequence[tuple[float, float]],
    decided_at: Sequence[float],
) -> GalleryRows:
    """Tracklets beside their identities as the database will give them back."""
    return GalleryRows(
        tracklet_ids=[piece.tracklet_id for piece in pieces],
        global_ids=np.array(global_ids, np.int64),
        camera_ids=[CameraId(piece.camera_id) for piece in pieces],
        boot_ids=[piece.boot_id for piece in pieces],
        track_ids=np.array([piece.track_id for piece in pieces], np.int64),
        started_at=np.array([piece.started_at for piece in pieces]),
        ended_at=np.array([piece.ended_at for piece in pieces]),
        newness=np.array([new for new, _ in odds]),
        likeliest=np.array([likeliest for _, likeliest in odds]),
        decided_at=np.array(decided_at, np.float64),
        vectors=np.stack([unpack_vector(piece.appearance) for piece in pieces]),
    )


def some_of(rows: GalleryRows, tracklet_ids: Collection[TrackletId]) -> GalleryRows:
    """The rows of some tracklets, in their order."""
    places = [place for place, name in enumerate(rows.tracklet_ids) if name in tracklet_ids]
    return rows.some(np.array(places, np.int64))


def tracks_of(rows: GalleryRows) -> list[TrackKey]:
    """Of each row. Their names are few, and kept once."""
    cameras, boots = map(sys.intern, rows.camera_ids), map(sys.intern, rows.boot_ids)
    return list(zip(cameras, boots, rows.track_ids.tolist(), strict=True))


def _numbers_of(rows: GalleryRows) -> F64:
    """(N, 6) what the book of tracks asks of each row: identity, beginning, end, and what was thought of it."""
    delays_s = rows.decided_at - rows.ended_at
    return np.stack([rows.global_ids, rows.started_at, rows.ended_at, rows.newness, rows.likeliest, delays_s], axis=1)


def _means(vectors: F32, counts: I64) -> F32:
    """(I, D) of vectors (N, D), of which the first counts[0] belong together, the next counts[1], and so on."""
    means = np.empty((len(counts), vectors.shape[1]), np.float32)
    ends = np.cumsum(counts)
    for place, (begin, end) in enumerate(zip((ends - counts).tolist(), ends.tolist(), strict=True)):
        np.add.reduce(vectors[begin:end], axis=0, out=means[place])
    means /= counts[:, None].astype(np.float32)
    return means
