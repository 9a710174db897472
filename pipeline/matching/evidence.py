"""What speaks for a known person to be the one who has come: looks and times, as log-odds against somebody new."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.columns import with_room
from pipeline.contracts import F32, F64, I64, CameraId, GlobalId, TrackletEmbedding
from pipeline.decisions import CandidateEvidence
from pipeline.matching.calibration import Calibration
from pipeline.matching.looks import look_odds

Bools = npt.NDArray[np.bool_]
TrackKey = tuple[str, str, int]  # camera_id, boot_id, track_id: one person followed by one camera

# Similarities are compared after rounding: searching the same vectors in another order may change the last bits of a
# float32 product, and a restarted matcher must decide as the undisturbed one did.
SIMILARITY_DECIMALS = 4
# No single kind of evidence is believed beyond these log-odds: looks because models err, times because people do.
LOOK_LIMIT, TIME_LIMIT = 14.0, 5.0
WALK_LIMIT = 8.0  # log-odds that no walk of several steps exceeds: clocks and trackers err
_WEIGHED = 128  # candidates for each arrival
_ANYBODY = 3.0  # log-odds against somebody who comes at a time that speaks against him, beside that he is one of many


@dataclass(frozen=True, slots=True)
class Arrival:
    """The pieces of one track that came in one micro-batch; decided as one."""

    pieces: tuple[TrackletEmbedding, ...]  # in time order
    vector: F32  # (D,) unit length: the pieces' mean, weighted by quality
    track: TrackKey
    started_at: float
    ended_at: float

    @property
    def camera_id(self) -> CameraId:
        return CameraId(self.track[0])


@dataclass(frozen=True, eq=False)
class Candidates:
    """The known identities that the arrivals of a micro-batch may be, as columns.

    The similarity to an identity is the mean over its exemplars. The nearest exemplar alone would let two people grow
    together as soon as one tracklet of each looks alike.
    """

    global_ids: I64  # (C,) ascending
    camera_ids: list[str]  # (C,) where each was seen last
    places: I64  # (C,) the same as places in the calibration
    seen_at: F64  # (C,) when
    exemplars: I64  # (C, A + 1) of each camera
    similarities: F64  # (N, C) of arrivals and identities
    known: int  # identities in all, these and others


@dataclass(frozen=True, slots=True)
class Weights:
    """What speaks for each candidate to be each of some arrivals, (G, C), or one arrival, (C,)."""

    similarities: F64
    looks: F64  # log-odds
    gaps_s: F64  # since each was seen last
    transits: F64  # log-odds

    @property
    def odds(self) -> F64:
        """Log-odds against somebody new."""
        return self.looks + self.transits

    def of(self, row: int) -> Weights:
        """Of one of the arrivals."""
        return Weights(self.similarities[row], self.looks[row], self.gaps_s[row], self.transits[row])


def rounded(similarities: F32 | F64) -> F64:
    """Similarities as they are compared; see `SIMILARITY_DECIMALS`."""
    return np.asarray(similarities, np.float64).round(SIMILARITY_DECIMALS)


def believed(transits: F64, known: int) -> F64:
    """Log-odds of times, among so many known people.

    However long somebody has been away, he is still one of those who may come. On a large site no less than a walk may
    count against two identities: whoever would be merged after the next look is not opened before it.
    """
    return transits.clip(max(-_ANYBODY - math.log(max(known, 1)), -WALK_LIMIT), TIME_LIMIT)


def probabilities(odds: F64) -> tuple[F64, F64]:
    """(..., C) and (...,): that each candidate, or somebody new, is the one; from log-odds against somebody new."""
    top = np.maximum(odds.max(axis=-1, initial=0.0), 0.0)
    weights = np.exp(odds - top[..., None])
    new = np.exp(-top)
    total = weights.sum(axis=-1) + new
    return weights / total[..., None], new / total


def highest(values: F64, count: int) -> I64:
    """(G, count) where the highest of each row (G, N) stand, the highest first; of equals the first. All of fewer."""
    left, rows = values.copy(), np.arange(len(values))
    places = np.empty((len(values), min(count, values.shape[1])), np.int64)
    for rank in range(places.shape[1]):
        places[:, rank] = left.argmax(axis=1)
        left[rows, places[:, rank]] = -np.inf
    return places


class Board:
    """What is known of all arrivals and identities, kept up to date while a micro-batch is decided.

    Everybody known is weighed once, for all arrivals together; then, for those who are next, whoever was joined since.
    """

    def __init__(self, arrivals: Sequence[Arrival], candidates: Candidates, calibration: Calibration) -> None:
        self._calibration = calibration
        self._arrivals = arrivals
        self._people = candidates.known
        self._arrived_at = np.array([calibration.place(arrival.camera_id) for arrival in arrivals], np.int64)
        self._started_at = np.array([arrival.started_at for arrival in arrivals])
        vectors = np.stack([arrival.vector for arrival in arrivals]) if arrivals else np.zeros((0, 1), np.float32)
        looks = calibration.looks(vectors, self._arrived_at) if arrivals else vectors
        self._among_arrivals = rounded(looks @ looks.T)
        known, room = len(candidates.global_ids), len(candidates.global_ids) + len(arrivals)
        self._known = known
        self._global_ids = with_room(candidates.global_ids, len(arrivals))
        self._camera_ids = [*candidates.camera_ids, *[""] * len(arrivals)]
        self._places, self._seen_at = (
            with_room(candidates.places, len(arrivals)),
            with_room(candidates.seen_at, len(arrivals)),
        )
        self._exemplars = with_room(candidates.exemplars, len(arrivals))
        self._held = self._exemplars.sum(axis=1)
        self._strangers = calibration.strangers(self._exemplars)
        self._sums = np.zeros((len(arrivals), room))
        self._sums[:, :known] = candidates.similarities * self._held[:known]
        self._columns = {global_id: column for column, global_id in enumerate(candidates.global_ids.tolist())}
        self._similarities = np.zeros_like(self._sums)
        self._similarities[:, :known] = rounded(candidates.similarities)
        self._looks, self._transits = np.zeros_like(self._sums), np.zeros_like(self._sums)
        self._is_weighed = np.zeros(self._sums.shape, np.bool_)
        self._weigh(*np.nonzero(_are_near(self._similarities[:, :known])))

    @property
    def global_ids(self) -> I64:
        """(C,) of all identities so far."""
        return self._global_ids[: self._known]

    def columns(self, global_ids: Iterable[GlobalId]) -> list[int]:
        """Of those who are here."""
        return [self._columns[global_id] for global_id in global_ids if global_id in self._columns]

    def join(self, index: int, global_id: GlobalId) -> None:
        """The pieces of an arrival become exemplars of an identity, which may be a new one."""
        column = self._columns.setdefault(global_id, self._known)
        arrival = self._arrivals[index]
        if column == self._known:
            self._known += 1
            self._global_ids[column], self._seen_at[column] = global_id, -np.inf
        self._sums[:, column] += len(arrival.pieces) * self._among_arrivals[:, index]
        own = self._exemplars[column : column + 1]
        own[0, self._arrived_at[index]] += len(arrival.pieces)
        for held, now in zip(self._strangers, self._calibration.strangers(own), strict=True):
            held[column] = now[0]
        self._held[column] += len(arrival.pieces)
        self._similarities[:, column] = rounded(self._sums[:, column] / self._held[column])
        self._is_weighed[:, column] = False
        if arrival.ended_at >= self._seen_at[column]:
            self._seen_at[column], self._places[column] = arrival.ended_at, self._arrived_at[index]
            self._camera_ids[column] = arrival.camera_id

    def weigh(self, group: Sequence[int]) -> Weights:
        """What speaks for each identity so far to be each of some arrivals."""
        arrivals, known = np.array(group, np.int64), self._known
        similarities = self._similarities[arrivals, :known]
        is_near = _are_near(similarities)
        rows, columns = np.nonzero(is_near & ~self._is_weighed[arrivals, :known])
        self._weigh(arrivals[rows], columns)
        return Weights(
            similarities=similarities,
            looks=np.where(is_near, self._looks[arrivals, :known], -LOOK_LIMIT),
            gaps_s=self._started_at[arrivals, None] - self._seen_at[:known],
            transits=np.where(is_near, self._transits[arrivals, :known], 0.0),
        )

    def told(
        self, weights: Weights, shares: F64, columns: Sequence[int], constraints: Mapping[int, str]
    ) -> tuple[CandidateEvidence, ...]:
        """Some columns in words and numbers."""
        return tuple(
            CandidateEvidence(
                global_id=int(self._global_ids[column]),
                camera_id=self._camera_ids[column],
                similarity=float(weights.similarities[column]),
                appearance_log_odds=float(weights.looks[column]),
                gap_s=float(weights.gaps_s[column]),
                transit_log_odds=float(weights.transits[column]),
                probability=float(shares[column]),
                constraint=constraints.get(column),
            )
            for column in columns
        )

    def _weigh(self, arrivals: I64, columns: I64) -> None:
        """Pairs (P,) of an arrival and an identity, whose similarities are known."""
        places, similarities = self._arrived_at[arrivals], self._similarities[arrivals, columns]
        means, deviations = self._strangers
        scores = (similarities - means[columns, places]) / deviations[columns, places]
        alike = look_odds(self._calibration.curves, scores, np.maximum(self._held[columns], 1))
        self._looks[arrivals, columns] = alike.clip(-LOOK_LIMIT, LOOK_LIMIT)
        gaps_s = self._started_at[arrivals] - self._seen_at[columns]
        ways = self._calibration.transit.evidence(self._places[columns], places, gaps_s)
        self._transits[arrivals, columns] = believed(ways, self._people)
        self._is_weighed[arrivals, columns] = True


def _are_near(similarities: F64) -> Bools:
    """(N, C) who is weighed: whoever is less alike than `_WEIGHED` others counts for nothing beside them."""
    if similarities.shape[1] <= _WEIGHED:
        return np.ones(similarities.shape, np.bool_)
    least = np.partition(similarities, -_WEIGHED, axis=1)[:, -_WEIGHED]
    return np.asarray(similarities >= least[:, None])
