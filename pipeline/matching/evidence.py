"""What speaks for a known person to be the one who has come: looks and times, as log-odds against somebody new."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.contracts import F32, F64, I64, CameraId, GlobalId, TrackletEmbedding
from pipeline.decisions import CandidateEvidence
from pipeline.matching.calibration import Calibration

Number = TypeVar("Number", np.int64, np.float64)
TrackKey = tuple[str, str, int]  # camera_id, boot_id, track_id: one person followed by one camera

# Similarities are compared after rounding: searching the same vectors in another order may change the last bits of a
# float32 product, and a restarted matcher must decide as the undisturbed one did.
SIMILARITY_DECIMALS = 4
# No single kind of evidence is believed beyond these log-odds: looks because models err, times because people do.
LOOK_LIMIT, TIME_LIMIT = 14.0, 5.0
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
    """What speaks for each candidate (C,) to be one arrival."""

    similarities: F64
    looks: F64  # log-odds
    gaps_s: F64  # since each was seen last
    transits: F64  # log-odds

    @property
    def odds(self) -> F64:
        """Log-odds against somebody new."""
        return self.looks + self.transits


def rounded(similarities: F32 | F64) -> F64:
    """Similarities as they are compared; see `SIMILARITY_DECIMALS`."""
    return np.asarray(similarities, np.float64).round(SIMILARITY_DECIMALS)


def believed(transits: F64, known: int) -> F64:
    """Log-odds of times, among so many known people.

    However long somebody has been away, he is still one of those who may come.
    """
    return transits.clip(-_ANYBODY - math.log(max(known, 1)), TIME_LIMIT)


def probabilities(odds: F64) -> tuple[F64, F64]:
    """(..., C) and (...,): that each candidate, or somebody new, is the one; from log-odds against somebody new."""
    top = np.maximum(odds.max(axis=-1, initial=0.0), 0.0)
    weights = np.exp(odds - top[..., None])
    new = np.exp(-top)
    total = weights.sum(axis=-1) + new
    return weights / total[..., None], new / total


class Board:
    """What is known of all arrivals and identities, kept up to date while a micro-batch is decided."""

    def __init__(self, arrivals: Sequence[Arrival], candidates: Candidates, calibration: Calibration) -> None:
        self._calibration = calibration
        self._arrivals = arrivals
        self._people = candidates.known
        self._arrived_at = np.array([calibration.place(arrival.camera_id) for arrival in arrivals], np.int64)
        vectors = np.stack([arrival.vector for arrival in arrivals]) if arrivals else np.zeros((0, 1), np.float32)
        looks = calibration.looks(vectors, self._arrived_at) if arrivals else vectors
        self._among_arrivals = rounded(looks @ looks.T)
        known, room = len(candidates.global_ids), len(candidates.global_ids) + len(arrivals)
        self._known = known
        self._global_ids = _widened(candidates.global_ids, room)
        self._camera_ids = [*candidates.camera_ids, *[""] * len(arrivals)]
        self._places, self._seen_at = _widened(candidates.places, room), _widened(candidates.seen_at, room)
        self._exemplars = _widened(candidates.exemplars, room)
        self._sums = np.zeros((len(arrivals), room))
        self._sums[:, :known] = candidates.similarities * candidates.exemplars.sum(axis=1)
        self._columns = {global_id: column for column, global_id in enumerate(candidates.global_ids.tolist())}

    @property
    def global_ids(self) -> I64:
        """(C,) of all identities so far."""
        return self._global_ids[: self._known]

    def join(self, index: int, global_id: GlobalId) -> None:
        """The pieces of an arrival become exemplars of an identity, which may be a new one."""
        column = self._columns.setdefault(global_id, self._known)
        arrival = self._arrivals[index]
        if column == self._known:
            self._known += 1
            self._global_ids[column], self._seen_at[column] = global_id, -np.inf
        self._sums[:, column] += len(arrival.pieces) * self._among_arrivals[:, index]
        self._exemplars[column, self._arrived_at[index]] += len(arrival.pieces)
        if arrival.ended_at >= self._seen_at[column]:
            self._seen_at[column], self._places[column] = arrival.ended_at, self._arrived_at[index]
            self._camera_ids[column] = arrival.camera_id

    def weigh(self, index: int) -> Weights:
        """What speaks for each identity so far to be an arrival."""
        known, place = self._known, int(self._arrived_at[index])
        exemplars = self._exemplars[:known]
        similarities = rounded(self._sums[index, :known] / np.maximum(exemplars.sum(axis=1), 1))
        gaps_s = self._arrivals[index].started_at - self._seen_at[:known]
        looks, transits = np.full(known, -LOOK_LIMIT), np.zeros(known)
        # Whoever is less alike than so many others counts for nothing beside them.
        near = np.sort(np.argpartition(-similarities, _WEIGHED)[:_WEIGHED]) if known > _WEIGHED else slice(None)
        alike = self._calibration.look_odds(similarities[near], exemplars[near], place)
        looks[near] = alike.clip(-LOOK_LIMIT, LOOK_LIMIT)
        ways = self._calibration.transit.evidence(self._places[:known][near], place, gaps_s[near])
        transits[near] = believed(ways, self._people)
        return Weights(similarities=similarities, looks=looks, gaps_s=gaps_s, transits=transits)

    def told(
        self, weights: Weights, shares: F64, columns: Sequence[int], constraints: Mapping[int, str]
    ) -> tuple[CandidateEvidence, ...]:
        """Some columns in words and numbers."""
        return tuple(
            CandidateEvidence.model_construct(
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


def _widened(columns: npt.NDArray[Number], rows: int) -> npt.NDArray[Number]:
    wide = np.zeros((rows, *columns.shape[1:]), columns.dtype)
    wide[: len(columns)] = columns
    return wide
