"""Which people a query means: similarities of tracklets become a ranking of identities. Pure.

An identity is judged by the better half of its tracklets, never by its single best one: one lucky crop among many
cannot carry a person to the top, and an occluded or wrongly joined tracklet cannot pull the right one down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F32, F64, I64, BlobKey, CameraId, GlobalId, TrackletId
from pipeline.interfaces import Sighting


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a similarity means, measured on people that the model never saw.

    The logistic curve tells right from wrong where both are equally frequent. Nobody below `threshold` is called a
    match, nor anybody who is less than `least_share` as probable as the first.
    """

    slope: float
    intercept: float
    threshold: float
    least_share: float = 0.25

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
class Rows:
    """Assigned tracklets of one model and one kind of vector, as columns."""

    vectors: F32  # (N, D) unit length
    global_ids: I64  # (N,)
    cameras: I64  # (N,) positions in `camera_ids`
    started_at: F64  # (N,)
    ended_at: F64  # (N,)
    tracklet_ids: Sequence[TrackletId]  # at least N; only the first N are meant
    camera_ids: tuple[CameraId, ...]

    def __len__(self) -> int:
        return len(self.global_ids)

    def of(self, global_id: GlobalId) -> I64:
        """Row numbers of one identity."""
        return np.flatnonzero(self.global_ids == global_id)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One identity as an answer. `tracklet_ids` are those that speak for it, best first."""

    global_id: GlobalId
    similarity: float
    confidence: float  # calibrated probability
    is_confident: bool
    tracklet_ids: tuple[TrackletId, ...]


def rank(query: F32, rows: Rows, filters: Filters, calibration: Calibration) -> list[Candidate]:
    """Every identity inside the filters, most similar first; equal ones by number.

    `query` is a (D,) vector. A linear term for what must not be there may be folded into it, so it need not be of unit
    length. The scan is exact: up to about 100,000 rows one matrix product beats every index (design, dependencies).
    """
    chosen = np.flatnonzero(_inside(rows, filters))
    if len(chosen) == 0:
        return []
    vectors = rows.vectors if len(chosen) == len(rows) else rows.vectors[chosen]
    # Equal vectors must tie whatever their place in the matrix, and the last bits of a product depend on it.
    similarities = np.round(vectors @ query, 5).astype(np.float64)
    order = np.lexsort((chosen, -similarities, rows.global_ids[chosen]))
    chosen, similarities = chosen[order], similarities[order]
    global_ids, starts, counts = np.unique(rows.global_ids[chosen], return_index=True, return_counts=True)
    counted = better_half(counts)
    place = np.arange(len(chosen)) - np.repeat(starts, counts)  # place of each row within its identity
    speaks = place < np.repeat(counted, counts)
    scores = np.add.reduceat(np.where(speaks, similarities, 0.0), starts) / counted
    in_view_s = np.add.reduceat(rows.ended_at[chosen] - rows.started_at[chosen], starts)
    ranked = [index for index in np.lexsort((global_ids, -scores)) if in_view_s[index] >= filters.shortest_s]
    confidences = calibration.probabilities(scores[ranked])
    candidates = []
    for index, confidence in zip(ranked, confidences, strict=True):
        speaking = chosen[starts[index] : starts[index] + counted[index]]
        is_near = confidence >= calibration.least_share * confidences[0]
        candidates.append(
            Candidate(
                global_id=GlobalId(int(global_ids[index])),
                similarity=float(scores[index]),
                confidence=float(confidence),
                is_confident=bool(is_near and scores[index] >= calibration.threshold),
                tracklet_ids=tuple(rows.tracklet_ids[row] for row in speaking),
            )
        )
    return candidates


def last_seen_first(rows: Rows, filters: Filters) -> list[GlobalId]:
    """The identities inside the filters, the one seen last first; equal ones by number."""
    chosen = np.flatnonzero(_inside(rows, filters))
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


def _inside(rows: Rows, filters: Filters) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    inside = np.ones(len(rows), dtype=np.bool_)
    if filters.camera_ids:
        wanted = [position for position, name in enumerate(rows.camera_ids) if name in filters.camera_ids]
        inside &= np.isin(rows.cameras, wanted)
    if filters.since_at is not None:
        inside &= rows.ended_at >= filters.since_at
    if filters.until_at is not None:
        inside &= rows.started_at <= filters.until_at
    return inside
