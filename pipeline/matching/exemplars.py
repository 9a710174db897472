"""Which tracklets stand for an identity in the gallery: few, and spread over cameras and time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.contracts import F16, F32, F64, GlobalId
from pipeline.matching.assignment import TrackKey


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One gallery row that stands for an identity."""

    row: int
    global_id: GlobalId
    track: TrackKey
    started_at: float
    vector: F16 = field(repr=False, compare=False)  # (A,) half precision, as it came on the wire


def most_redundant(exemplars: Sequence[Exemplar]) -> Exemplar:
    """The exemplar whose loss costs least.

    In the camera with the most exemplars: the one whose two neighbours in time are closest together; the camera's first
    and last stay. Where no camera has three, the earliest of the fullest camera goes. Equals: the lowest row.
    """
    counts = Counter(exemplar.track[0] for exemplar in exemplars)
    most = max(counts.values())
    if most == 1:
        return min(exemplars, key=lambda exemplar: (exemplar.started_at, exemplar.row))
    camera_id = min(name for name, count in counts.items() if count == most)
    crowd = sorted(
        (exemplar for exemplar in exemplars if exemplar.track[0] == camera_id),
        key=lambda exemplar: (exemplar.started_at, exemplar.row),
    )
    gaps = [
        (after.started_at - before.started_at, exemplar.row, exemplar)
        for before, exemplar, after in zip(crowd, crowd[1:], crowd[2:], strict=False)
    ]
    return min(gaps)[2] if gaps else crowd[0]


class ExemplarBook:
    """Exemplars by gallery row and by identity, at most `limit` per identity.

    The same calls in the same order give the same book, to the last bit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_row: dict[int, Exemplar] = {}
        self._by_identity: dict[GlobalId, list[Exemplar]] = {}  # in the order of rows
        self._sums: dict[GlobalId, F64] = {}  # (A,) of the identity's vectors

    def add(self, exemplar: Exemplar) -> int | None:
        """Keep one more; returns the row given up for it, which may be its own."""
        own = self._by_identity.setdefault(exemplar.global_id, [])
        own.append(exemplar)
        self._by_row[exemplar.row] = exemplar
        self._sums[exemplar.global_id] = self._sums.get(exemplar.global_id, 0.0) + exemplar.vector.astype(np.float64)
        if len(own) <= self._limit:
            return None
        lost = most_redundant(own)
        own.remove(lost)
        del self._by_row[lost.row]
        self._sums[lost.global_id] -= lost.vector
        return lost.row

    def forget(self, global_id: GlobalId) -> list[int]:
        """Give up all of an identity, if it has any; returns the rows."""
        rows = [exemplar.row for exemplar in self._by_identity.pop(global_id, ())]
        for row in rows:
            del self._by_row[row]
        self._sums.pop(global_id, None)
        return rows

    def identity(self, row: int) -> GlobalId:
        """Whom a gallery row stands for."""
        return self._by_row[row].global_id

    def of(self, global_id: GlobalId) -> list[Exemplar]:
        """The exemplars of an identity, the newest last."""
        return self._by_identity[global_id]

    def mean(self, global_id: GlobalId) -> F32:
        """(A,) mean of the identity's vectors, not of unit length: times a unit vector, it is the mean similarity."""
        mean: F32 = (self._sums[global_id] / len(self._by_identity[global_id])).astype(np.float32)
        return mean

    def __len__(self) -> int:
        return len(self._by_row)
