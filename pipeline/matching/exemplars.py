"""Which tracklets stand for a person: few, spread over cameras and times, the recent ones more likely.

Every tracklet draws a number once and for all. The highest numbers of each camera stay, and of those the highest in
all: so the same tracklets leave the same exemplars in whatever order they came, and two books make one by union.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from pipeline.columns import with_room
from pipeline.contracts import F16, F32, F64, I64, CameraId, GlobalId, TrackletId, tracklet_parts
from pipeline.matching.camera_numbers import CameraNumbers
from pipeline.matching.evidence import TrackKey
from pipeline.matching.slot_table import SlotTable

_FADE_S = 86_400.0  # a tracklet is e times as likely to stay as one that is older by so much
_BLOCK = 8192  # vectors that are made wider at once


class Exemplar(NamedTuple):
    """One tracklet that stands for an identity. Of two, the greater stays."""

    draw: float
    tracklet_id: TrackletId

    @property
    def track(self) -> TrackKey:
        """The track that it is a piece of."""
        return tracklet_parts(self.tracklet_id)[:3]


def draws(tracklet_ids: Sequence[str], started_at: F64) -> F64:
    """Gumbel's trick: the highest of these are a random sample in which the weight grows by e in `_FADE_S`."""
    marks = np.fromiter(map(zlib.crc32, map(str.encode, tracklet_ids)), np.float64, len(tracklet_ids))
    uniform = (marks + 0.5) / 2**32
    found: F64 = started_at / _FADE_S - np.log(-np.log(uniform))
    return found


class ExemplarBook:
    """Exemplars of each identity with their vectors, as columns. A slot is the place of one in all columns."""

    def __init__(self, dimension: int, per_camera: int, limit: int) -> None:
        self.dimension = dimension
        self._per_camera = per_camera
        self._limit = limit
        self._vectors: F16 = np.zeros((0, dimension), np.float16)
        self._started_at: F64 = np.zeros(0)  # inf: the slot is free
        self._draws: F64 = np.zeros(0)
        self._cameras: I64 = np.zeros(0, np.int64)
        self._names: npt.NDArray[np.object_] = np.zeros(0, np.object_)
        self._free: list[int] = []
        self._camera_numbers = CameraNumbers()
        self._own = SlotTable(limit)  # of each identity, the highest first
        self._sums: F64 | None = None  # (cameras, D) of all vectors, since somebody has asked

    def __len__(self) -> int:
        return len(self._names) - len(self._free)

    def __contains__(self, global_id: GlobalId) -> bool:
        return global_id in self._own

    @property
    def camera_ids(self) -> list[str]:
        """In the order of their numbers."""
        return self._camera_numbers.names

    def identities(self) -> list[GlobalId]:
        return list(self._own)

    def of(self, global_id: GlobalId) -> list[Exemplar]:
        """The highest first."""
        slots, _ = self._own.of([global_id])
        return [Exemplar(float(self._draws[slot]), TrackletId(self._names[slot])) for slot in slots.tolist()]

    def slots(self, global_ids: Iterable[GlobalId]) -> tuple[I64, I64]:
        """The slots of some identities, one after the other and of each the highest first; how many each has."""
        return self._own.of(global_ids)

    def cameras(self, slots: I64) -> I64:
        """Their numbers in this book."""
        found: I64 = self._cameras[slots]
        return found

    def started_at(self, slots: I64) -> F64:
        """When these tracklets began."""
        found: F64 = self._started_at[slots]
        return found

    def vectors(self, slots: I64) -> F32:
        """(N, D) as they came: of unit length as far as half precision goes."""
        return widened(self._vectors[slots])

    def sums(self) -> tuple[F64, I64]:
        """(cameras, D) and (cameras,): of each camera the sum of all vectors as they came, and their number.

        Every number of half precision is a multiple of 2^-24, so the sums are exact: they do not depend on the order.
        """
        used, _ = self._own.of(self.identities())
        if self._sums is None:
            self._sums = np.zeros((0, self._vectors.shape[1]))
            for begin in range(0, len(used), _BLOCK):
                self._count(used[begin : begin + _BLOCK], 1.0)
        self._widen_sums()
        return self._sums, np.bincount(self._cameras[used], minlength=len(self._sums))

    def begun_by(self, moments: Mapping[CameraId, float]) -> list[GlobalId]:
        """Identities with an exemplar that began at the moment of its camera or earlier, if it has one."""
        latest = np.array([moments.get(CameraId(name), -np.inf) for name in self.camera_ids])
        is_begun = np.zeros(len(self._names), np.bool_)
        if len(latest):
            is_begun = self._started_at <= latest[self._cameras]
        if not is_begun.any():
            return []
        everybody = self.identities()
        slots, counts = self._own.of(everybody)
        owners = np.repeat(np.array(everybody, np.int64), counts)
        return [GlobalId(number) for number in np.unique(owners[is_begun[slots]]).tolist()]

    def add(
        self, global_ids: I64, tracklet_ids: Sequence[str], camera_ids: Sequence[str], started_at: F64, vectors: F16
    ) -> list[GlobalId]:
        """Keep what is high enough of these tracklets; returns the identities whose exemplars have changed."""
        drawn = draws(tracklet_ids, started_at)
        owners, whose = np.unique(global_ids, return_inverse=True)
        numbers: list[GlobalId] = owners.tolist()
        homes = self._own.open(numbers)
        old, counts = self._own.at(homes)
        seen_by = self._camera_numbers.of(camera_ids)
        # What the identities have, and what is new.
        everyone = np.concatenate([np.repeat(np.arange(len(owners)), counts), whose])
        kept = self._chosen(
            everyone,
            np.concatenate([self._cameras[old], seen_by]),
            np.concatenate([self._draws[old], drawn]),
            lambda: [*self._names[old].tolist(), *tracklet_ids],
        )
        is_kept = np.zeros(len(everyone), np.bool_)
        is_kept[kept] = True
        self._drop(old[~is_kept[: len(old)]])
        fresh = np.flatnonzero(is_kept[len(old) :])
        slots = np.concatenate([old, np.zeros(len(whose), np.int64)])
        stored = self._store(fresh, tracklet_ids, seen_by, drawn, vectors)
        self._started_at[stored] = started_at[fresh]
        slots[len(old) + fresh] = stored
        self._own.give(homes, slots[kept], np.bincount(everyone[kept], minlength=len(owners)))
        changed: list[GlobalId] = owners[np.bincount(whose[fresh], minlength=len(owners)) > 0].tolist()
        return changed

    def reserve(self, count: int) -> None:
        """Have room for so many more."""
        if count <= len(self._free):
            return
        size = len(self._names)
        extra = max(1024, size, count)
        self._free = [*range(size + extra - 1, size - 1, -1), *self._free]
        self._vectors = with_room(self._vectors, extra)
        self._draws = with_room(self._draws, extra)
        self._cameras = with_room(self._cameras, extra)
        self._started_at = np.concatenate([self._started_at, np.full(extra, np.inf)])
        self._names = np.concatenate([self._names, np.full(extra, "", np.object_)])

    def join(self, into: Sequence[GlobalId], others: Sequence[GlobalId]) -> None:
        """All exemplars of each of the `others` become those of its `into`, as far as they are high enough."""
        homes = self._own.open(into)
        before, counts = self._own.at(homes)
        moved = [self._own.pop(other) for other in others]
        slots = np.concatenate([before, *moved])
        people = np.arange(len(into))
        whose = np.concatenate([np.repeat(people, counts), np.repeat(people, list(map(len, moved)))])
        kept = self._chosen(
            whose, self._cameras[slots], self._draws[slots], lambda: cast(list[str], self._names[slots].tolist())
        )
        self._drop(np.delete(slots, kept))
        self._own.give(homes, slots[kept], np.bincount(whose[kept], minlength=len(into)))

    def forget(self, global_id: GlobalId) -> None:
        self._drop(self._own.pop(global_id))

    def _chosen(self, owners: I64, cameras: I64, drawn: F64, ask_names: Callable[[], list[str]]) -> I64:
        """The places of those who stay, by owner, of each the highest first."""
        order = np.argsort(-drawn)
        order = order[grouped(owners[order])]
        ranked = owners[order]
        is_tie = (ranked[1:] == ranked[:-1]) & (drawn[order[1:]] == drawn[order[:-1]])
        if is_tie.any():  # of equals the greater name is higher
            by_name = np.argsort(np.array(ask_names()))[::-1]
            order = by_name[np.lexsort((-drawn[by_name], owners[by_name]))]
        cells = (owners * len(self._camera_numbers) + cameras)[order]
        # Few have too many before one camera.
        crowd = np.flatnonzero(np.bincount(cells)[cells] > self._per_camera)
        crowd = crowd[np.argsort(cells[crowd], kind="stable")]
        order = np.delete(order, crowd[ranks(cells[crowd]) >= self._per_camera])
        return order[ranks(owners[order]) < self._limit]

    def _store(self, fresh: I64, tracklet_ids: Sequence[str], cameras: I64, drawn: F64, vectors: F16) -> I64:
        """Put the tracklets at these places into free slots."""
        self.reserve(len(fresh))
        first = len(self._free) - len(fresh)
        slots = np.array(self._free[first:], np.int64)
        del self._free[first:]
        self._vectors[slots] = vectors if len(fresh) == len(vectors) else vectors[fresh]
        self._draws[slots], self._cameras[slots] = drawn[fresh], cameras[fresh]
        self._names[slots] = np.array(tracklet_ids, np.object_)[fresh]
        self._count(slots, 1.0)
        return slots

    def _drop(self, slots: I64) -> None:
        self._count(slots, -1.0)
        self._vectors[slots] = 0.0  # a look that is forgotten does not stay behind in memory
        self._started_at[slots] = np.inf
        self._names[slots] = ""
        self._free += slots.tolist()

    def _count(self, slots: I64, sign: float) -> None:
        if self._sums is not None and len(slots):
            self._widen_sums()
            cameras = self._cameras[slots]
            member = np.zeros((len(self._sums), len(slots)))
            member[cameras, np.arange(len(slots))] = sign
            self._sums += member @ self._vectors[slots].astype(np.float64)

    def _widen_sums(self) -> None:
        if self._sums is not None and len(self._sums) < len(self._camera_numbers):
            more = np.zeros((len(self._camera_numbers) - len(self._sums), self._vectors.shape[1]))
            self._sums = np.concatenate([self._sums, more])


def widened(halves: F16) -> F32:
    """The same numbers, which are finite; NumPy takes three times as long.

    Exponent and fraction of half precision stand 13 bits higher up in single precision, and tell of a number smaller by
    a power of two.
    """
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= np.int32(-0x70000001)  # what the sign has spread to
    found: F32 = bits.view(np.float32)
    found *= np.float32(2.0**112)
    return found


def grouped(groups: I64) -> I64:
    """The order in which the same groups (N,), numbers from 0, stand together: each in the order it had."""
    is_short = groups.max(initial=0) < 2**16  # NumPy counts these instead of comparing them
    return np.argsort(groups.astype(np.uint16) if is_short else groups, kind="stable")


def ranks(groups: I64) -> I64:
    """How many of the same group stand before each, in (N,) groups of which each stands together."""
    begins = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))[: len(groups)]
    return np.arange(len(groups)) - np.repeat(begins, np.diff(np.append(begins, len(groups))))


def of_one_size(counts: I64) -> Iterator[tuple[I64, I64]]:
    """Of items of which the first counts[0] belong together, the next counts[1], and so on: groups (G,) of one size,
    and the places (G, size) of their members."""
    ends = np.cumsum(counts)
    for count in np.unique(counts).tolist():
        groups = np.flatnonzero(counts == count)
        yield groups, (ends[groups] - count)[:, None] + np.arange(count)
