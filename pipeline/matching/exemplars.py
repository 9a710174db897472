"""Which tracklets stand for a person: few, spread over cameras and times, the recent ones more likely.

Every tracklet draws a number once and for all. The highest numbers of each camera stay, and of those the highest in
all: so the same tracklets leave the same exemplars in whatever order they came, and two books make one by union.
"""

from __future__ import annotations

import math
import zlib
from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F16, F32, GlobalId
from pipeline.matching.evidence import TrackKey

_FADE_S = 86_400.0  # a tracklet is e times as likely to stay as one that is older by so much


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One tracklet that stands for an identity. Of two, the greater stays."""

    draw: float
    tracklet_id: str
    track: TrackKey
    started_at: float

    @property
    def rank(self) -> tuple[float, str]:
        return self.draw, self.tracklet_id


def draw(tracklet_id: str, started_at: float) -> float:
    """Gumbel's trick: the highest of these are a random sample in which the weight grows by e in `_FADE_S`."""
    uniform = (zlib.crc32(tracklet_id.encode()) + 0.5) / 2**32
    return started_at / _FADE_S - math.log(-math.log(uniform))


def chosen(exemplars: Iterable[Exemplar], per_camera: int, limit: int) -> list[Exemplar]:
    """At most `per_camera` of each camera and `limit` in all, the highest first."""
    held: dict[str, int] = {}
    kept: list[Exemplar] = []
    for exemplar in sorted(exemplars, key=lambda each: each.rank, reverse=True):
        camera_id = exemplar.track[0]
        if held.get(camera_id, 0) < per_camera:
            held[camera_id] = held.get(camera_id, 0) + 1
            kept.append(exemplar)
            if len(kept) == limit:
                break
    return kept


class ExemplarBook:
    """Exemplars of each identity with their vectors."""

    def __init__(self, dimension: int, per_camera: int, limit: int) -> None:
        self._per_camera = per_camera
        self._limit = limit
        self._pool: F16 = np.zeros((1024, dimension), np.float16)
        self._free = list(range(1023, -1, -1))
        self._slots: dict[str, int] = {}  # tracklet → row of the pool
        self._of: dict[GlobalId, list[Exemplar]] = {}  # the lowest first

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, global_id: GlobalId) -> bool:
        return global_id in self._of

    def identities(self) -> list[GlobalId]:
        return list(self._of)

    def of(self, global_id: GlobalId) -> list[Exemplar]:
        """The highest first."""
        return self._of[global_id][::-1]

    def add(self, global_id: GlobalId, exemplar: Exemplar, vector: F16) -> bool:
        """Keep one more, if it is high enough; returns whether it is."""
        own = self._of.setdefault(global_id, [])
        if len(own) == self._limit and exemplar.rank < own[0].rank:
            return False
        insort(own, exemplar, key=_rank)
        self._store(exemplar, vector)
        if len(own) > self._limit or sum(each.track[0] == exemplar.track[0] for each in own) > self._per_camera:
            self._keep(global_id, own, self._chosen(own))
        return exemplar.tracklet_id in self._slots

    def join(self, into: GlobalId, other: GlobalId) -> None:
        """All exemplars of `other` become those of `into`, as far as they are high enough."""
        moved = self._of.pop(other)
        own = self._of.get(into, [])
        self._keep(into, [*own, *moved], self._chosen([*own, *moved]))

    def forget(self, global_id: GlobalId) -> None:
        self._keep(global_id, self._of.pop(global_id), [])
        del self._of[global_id]

    def vectors(self, exemplars: Sequence[Exemplar]) -> F32:
        """(N, D) as they came."""
        slots = [self._slots[exemplar.tracklet_id] for exemplar in exemplars]
        found: F32 = self._pool[slots].astype(np.float32)
        return found

    def _chosen(self, exemplars: Sequence[Exemplar]) -> list[Exemplar]:
        return chosen(exemplars, self._per_camera, self._limit)[::-1]

    def _keep(self, global_id: GlobalId, before: Sequence[Exemplar], after: list[Exemplar]) -> None:
        stay = {exemplar.tracklet_id for exemplar in after}
        for exemplar in before:
            if exemplar.tracklet_id not in stay and exemplar.tracklet_id in self._slots:
                slot = self._slots.pop(exemplar.tracklet_id)
                self._pool[slot] = 0.0  # a look that is forgotten does not stay behind in memory
                self._free.append(slot)
        self._of[global_id] = after

    def _store(self, exemplar: Exemplar, vector: F16) -> None:
        if not self._free:
            size = len(self._pool)
            self._pool = np.concatenate([self._pool, np.zeros_like(self._pool)])
            self._free = list(range(2 * size - 1, size - 1, -1))
        slot = self._free.pop()
        self._slots[exemplar.tracklet_id] = slot
        self._pool[slot] = vector


def _rank(exemplar: Exemplar) -> tuple[float, str]:
    return exemplar.rank
