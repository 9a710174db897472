"""Which people a query means: similarities of tracklets become a ranking of identities. Pure.

An identity is judged by the better half of its tracklets, never by its single best one: one lucky crop among many
cannot carry a person to the top, and an occluded or wrongly joined tracklet cannot pull the right one down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.contracts import F32, F64, I64, BlobKey, CameraId, GlobalId, TrackletId
from pipeline.kept import Sighting

Bools = npt.NDArray[np.bool_]

_SIGN_AND_HALF = np.int32(-0x70002000)  # of float32: the sign, five bits of exponent, ten of fraction
_REBIASED = np.float32(2.0**112)  # exponents count from 15 in float16, from 127 in float32


class Judge(Protocol):
    """What similarities mean: `Calibration` for looks, `TextCalibration` for words."""

    def fits(self, similarities: F64, things: F64, /) -> F64:
        """(N,) how well each fits, higher is better, from (N,) similarities to what is asked for and (N, A) to what
        must not be there."""

    def judged(self, fits: F64) -> tuple[F64, Bools]:
        """The probability that each is who is meant, and whether it is called a match; `fits` falls."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the similarity of two looks means, measured on people that the model never saw.

    The logistic curve tells right from wrong where both are equally frequent. Nobody below `threshold` is called a
    match, nor anybody who is less than `least_share` as probable as the first.
    """

    slope: float
    intercept: float
    threshold: float
    least_share: float = 0.25

    def fits(self, similarities: F64, _things: F64, /) -> F64:
        """The similarities themselves: a picture says nothing of what must not be there."""
        return similarities

    def judged(self, fits: F64) -> tuple[F64, Bools]:
        probabilities = self.probabilities(fits)
        is_near = probabilities >= self.least_share * probabilities[:1]
        return probabilities, is_near & (fits >= self.threshold)

    def probabilities(self, similarities: F64) -> F64:
        """(N,) that each is who is meant, where one of them is or, as probable beforehand, none.

        They compete: beside somebody who fits better, or many who fit as well, the same similarity means less.
        """
        log_odds = self.slope * similarities + self.intercept
        largest = max(float(log_odds.max(initial=0.0)), 0.0)
        odds = np.exp(log_odds - largest)
        return np.asarray(odds / (odds.sum() + math.exp(-largest)), np.float64)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which tracklets count. A tracklet is inside the time when it touches it."""

    camera_ids: frozenset[CameraId] = frozenset()  # none: all cameras
    since_at: float | None = None
    until_at: float | None = None
    shortest_s: float = 0.0  # people who were in view for less, all counted tracklets together, are left out


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to the vectors: who is like `present`, and shows none of `absent`."""

    present: F32  # (D,)
    absent: F32  # (A, D) what each thing adds to anybody; often none
    filters: Filters
    judge: Judge

    @classmethod
    def alike(cls, look: F32, filters: Filters, judge: Judge) -> Ask:
        """Who looks like `look` (D,)."""
        return cls(look, np.zeros((0, len(look)), np.float32), filters, judge)


@dataclass(frozen=True, slots=True)
class Rows:
    """Assigned tracklets of one model and one kind of vector, as columns."""

    vectors: npt.NDArray[np.float16] | F32  # (N, D) unit length
    global_ids: I64  # (N,)
    cameras: I64  # (N,) positions in `camera_ids`
    started_at: F64  # (N,)
    ended_at: F64  # (N,)
    tracklet_ids: Sequence[TrackletId]  # at least N; only the first N are meant
    camera_ids: tuple[CameraId, ...]

    def __len__(self) -> int:
        return len(self.global_ids)

    def looks(self, numbers: I64) -> F32:
        """(n, D) the vectors of these rows."""
        return widened(self.vectors[numbers])

    def of(self, global_id: GlobalId) -> I64:
        """Row numbers of one identity."""
        return np.flatnonzero(self.global_ids == global_id)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One identity as an answer. `tracklet_ids` are those that speak for it, best first."""

    global_id: GlobalId
    similarity: float
    fit: float  # the same less what speaks for a thing that must not be there
    confidence: float  # calibrated probability
    is_confident: bool
    tracklet_ids: tuple[TrackletId, ...]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Identities, the best fit first, and how many of all that were compared are called a match."""

    candidates: list[Candidate]
    confident: int


def rank(ask: Ask, rows: Rows, chosen: I64 | None = None, most: int | None = None) -> Ranking:
    """The identities of the rows numbered `chosen` (none: all inside the filters), the best fit first; equal ones by
    number. The filters must have been applied to `chosen` already. Only the first `most` are told one by one."""
    chosen = inside(rows, ask.filters) if chosen is None else chosen
    if len(chosen) == 0:
        return Ranking([], 0)
    terms = np.concatenate([ask.present[None], ask.absent])
    # Equal vectors must tie whatever their place in the matrix, and the last bits of a product depend on it.
    told = np.round(rows.looks(chosen) @ terms.T, 5).astype(np.float64)  # (N, 1 + A)
    order = np.lexsort((chosen, -told[:, 0], rows.global_ids[chosen]))
    chosen, told = chosen[order], told[order]
    global_ids, starts, counts = np.unique(rows.global_ids[chosen], return_index=True, return_counts=True)
    similarities = _better_half_means(told[:, 0], starts, counts)
    things = np.zeros((len(starts), len(ask.absent)))
    for place, values in enumerate(told.T[1:]):
        things[:, place] = _better_half_means(_falling(values, starts, counts), starts, counts)
    fits = ask.judge.fits(similarities, things)
    in_view_s = np.add.reduceat(rows.ended_at[chosen] - rows.started_at[chosen], starts)
    ranked = np.lexsort((global_ids, -fits))
    ranked = ranked[in_view_s[ranked] >= ask.filters.shortest_s]
    confidences, are_confident = ask.judge.judged(fits[ranked])
    ends = starts + better_half(counts)
    candidates = [
        Candidate(
            global_id=GlobalId(int(global_ids[index])),
            similarity=float(similarities[index]),
            fit=float(fits[index]),
            confidence=float(confidence),
            is_confident=bool(is_confident),
            tracklet_ids=tuple(rows.tracklet_ids[row] for row in chosen[starts[index] : ends[index]].tolist()),
        )
        for index, confidence, is_confident in zip(ranked[:most], confidences, are_confident, strict=False)
    ]
    return Ranking(candidates, int(are_confident.sum()))


def last_seen_first(rows: Rows, filters: Filters) -> list[GlobalId]:
    """The identities inside the filters, the one seen last first; equal ones by number."""
    chosen = inside(rows, filters)
    global_ids, owner = np.unique(rows.global_ids[chosen], return_inverse=True)
    seen_at = np.full(len(global_ids), -np.inf)
    np.maximum.at(seen_at, owner, rows.ended_at[chosen])
    in_view_s = np.bincount(owner, rows.ended_at[chosen] - rows.started_at[chosen], len(global_ids))
    order = np.lexsort((global_ids, -seen_at))
    return [GlobalId(int(global_ids[i])) for i in order if in_view_s[i] >= filters.shortest_s]


def better_half(counts: I64) -> I64:
    """How many tracklets of each identity are averaged: half of them, rounded up, but three where there are three."""
    return np.maximum((counts + 1) // 2, np.minimum(counts, 3))


def centre(vectors: F32) -> F32:
    """(N, D) unit vectors → (D,) their mean direction; what one identity looks like."""
    mean = vectors.mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)


def best_crops(route: Sequence[Sighting], speaking: Sequence[TrackletId], count: int) -> tuple[BlobKey, ...]:
    """At most `count` crops that show a person from many sides: the best crop of each sighting, sightings with the
    tracklets that speak for the answer first, then the second best of each, and so on."""
    place = {tracklet: position for position, tracklet in enumerate(speaking)}
    last = len(place)
    by_merit = sorted(route, key=lambda stay: min((place.get(t, last) for t in stay.tracklet_ids), default=last))
    deepest = max((len(stay.crop_keys) for stay in by_merit), default=0)
    keys = [stay.crop_keys[depth] for depth in range(deepest) for stay in by_merit if depth < len(stay.crop_keys)]
    return tuple(dict.fromkeys(keys))[:count]


def widened(halves: npt.NDArray[np.float16] | F32) -> F32:
    """Finite numbers as float32, bit by bit: NumPy converts them one after another, which takes twice as long."""
    if halves.dtype != np.float16:
        return np.asarray(halves, np.float32)
    bits = np.ascontiguousarray(halves).view(np.int16).astype(np.int32)  # repeats the sign through the upper half
    bits <<= 13
    bits &= _SIGN_AND_HALF
    numbers = bits.view(np.float32)
    numbers *= _REBIASED
    return numbers


def inside(rows: Rows, filters: Filters) -> I64:
    """The numbers of the rows that the filters leave."""
    is_inside = np.ones(len(rows), dtype=np.bool_)
    if filters.camera_ids:
        wanted = [position for position, name in enumerate(rows.camera_ids) if name in filters.camera_ids]
        is_inside &= np.isin(rows.cameras, wanted)
    if filters.since_at is not None:
        is_inside &= rows.ended_at >= filters.since_at
    if filters.until_at is not None:
        is_inside &= rows.started_at <= filters.until_at
    return np.flatnonzero(is_inside)


def _falling(values: F64, starts: I64, counts: I64) -> F64:
    """The values of each identity from the largest to the smallest, the identities where they are."""
    return values[np.lexsort((-values, np.repeat(np.arange(len(starts)), counts)))]


def _better_half_means(falling: F64, starts: I64, counts: I64) -> F64:
    """(P,) means over the better half of each identity's values, which stand together and fall."""
    counted = better_half(counts)
    place = np.arange(len(falling)) - np.repeat(starts, counts)
    is_counted = place < np.repeat(counted, counts)
    return np.asarray(np.add.reduceat(np.where(is_counted, falling, 0.0), starts) / counted, np.float64)
