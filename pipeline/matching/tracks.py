"""Who was where: the recent tracks of each camera with their identities."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.contracts import F64, I64, CameraId, GlobalId
from pipeline.matching.evidence import TrackKey
from pipeline.matching.exemplars import grouped, ranks


class Odds(NamedTuple):
    """What was thought of the first piece of a track."""

    newness: float = 0.0  # how probably the person had never been seen before
    likeliest: float = 0.0  # how probably she was the likeliest of those seen before
    delay_s: float = math.nan  # from its end to the decision, by two clocks; NaN: nobody noted it


@dataclass(frozen=True, eq=False)
class Spans:
    """Tracks as columns (N,): before which camera (its number in the book), from when to when, and of whom."""

    cameras: I64
    started_at: F64
    ended_at: F64
    global_ids: I64
    newness: F64  # how probably the person had never been seen before
    likeliest: F64  # how probably she was the likeliest of those seen before
    delays_s: F64  # from the end of the first piece to its decision, by two clocks; NaN where nobody noted it

    def __len__(self) -> int:
        return len(self.cameras)

    def some(self, chosen: npt.NDArray[np.bool_] | slice) -> Spans:
        """Those that are chosen, by a mask (N,) or as a slice."""
        return Spans(
            self.cameras[chosen],
            self.started_at[chosen],
            self.ended_at[chosen],
            self.global_ids[chosen],
            self.newness[chosen],
            self.likeliest[chosen],
            self.delays_s[chosen],
        )

    def meets(self, other: Spans) -> bool:
        """Whether one of these tracks was at one moment in one camera with one of the others."""
        found = self.cameras[:, None] == other.cameras
        found &= self.started_at[:, None] <= other.ended_at
        found &= self.ended_at[:, None] >= other.started_at
        return bool(found.any())


class TrackBook:
    """The newest tracks of every camera, at most `capacity` per camera.

    A track occupies its camera from its first to its last piece. The bound is a number and not a time, so that a camera
    with a wrong clock can neither fill the memory nor wipe it. The same calls in the same order give the same book.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._cameras: dict[str, _CameraTracks] = {}
        self._of: dict[GlobalId, dict[TrackKey, None]] = {}

    @property
    def camera_ids(self) -> list[str]:
        """In the order of their numbers."""
        return list(self._cameras)

    def record(self, track: TrackKey, started_at: float, ended_at: float, global_id: GlobalId, odds: Odds) -> None:
        """One more piece of a track; the camera's least recently extended track makes room.

        `odds` count for the first piece.
        """
        camera = self._cameras.get(track[0])
        if camera is None:
            camera = self._cameras[track[0]] = _CameraTracks(self._capacity)
        if camera.extend(track, started_at, ended_at):
            return
        if (lost := camera.make_room()) is not None:
            self._drop(*lost)
        self._of.setdefault(global_id, {})[track] = None
        camera.begin(track, started_at, ended_at, global_id, odds)

    def lasting(self, cameras: I64, boots: I64, track_ids: I64) -> I64:
        """Which pieces (N,) of tracks it takes to `record`, in their order, for an empty book to be as if all had been.
        Cameras and boots are numbers from 0.

        Only the newest tracks of each camera stay, so nothing before the first piece of any of them counts, but for the
        very first of each camera, which gives the camera its number.
        """
        keys = _numbered(cameras, boots, track_ids)
        order = np.argsort(keys)
        keys = keys[order]
        begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)])
        first, last = np.minimum.reduceat(order, begins), np.maximum.reduceat(order, begins)  # piece of each track
        newest = np.argsort(-last)
        newest = newest[grouped(cameras[first[newest]])]
        newest = newest[ranks(cameras[first[newest]]) < self._capacity]
        begun = np.full(cameras.max(initial=-1) + 1, len(order))  # of each camera, by its newest tracks
        debut = begun.copy()
        np.minimum.at(begun, cameras[first[newest]], first[newest])
        np.minimum.at(debut, cameras[first], first)
        places = np.arange(len(order))
        return np.flatnonzero((places >= begun[cameras]) | (places == debut[cameras]))

    def identity(self, track: TrackKey) -> GlobalId | None:
        """The identity of the track's pieces so far, if it is remembered."""
        camera = self._cameras.get(track[0])
        return camera.identity(track) if camera else None

    def present(self, camera_id: CameraId, started_at: float, ended_at: float, but: TrackKey) -> frozenset[GlobalId]:
        """Who was in the camera at any moment of the closed interval, in tracks other than `but`."""
        camera = self._cameras.get(camera_id)
        return camera.present(started_at, ended_at, but) if camera else frozenset()

    def tracks(self, global_id: GlobalId) -> list[TrackKey]:
        """The remembered tracks of an identity, in an order that does not depend on how they came to it."""
        return sorted(self._of.get(global_id, ()))

    def began(self, track: TrackKey) -> tuple[float, TrackKey]:
        """When a remembered track did; of equals the greater key counts as later."""
        return self._cameras[track[0]].times(track)[0], track

    def clashing(self, track: TrackKey) -> list[TrackKey]:
        """Other tracks of the same identity that were in the camera at one moment with this one."""
        global_id = self.identity(track)
        if global_id is None:
            return []
        began, ended = self._cameras[track[0]].times(track)[:2]
        beside = [other for other in self.tracks(global_id) if other[0] == track[0] and other != track]
        spans = [(other, self._cameras[other[0]].times(other)) for other in beside]
        return [other for other, times in spans if times[0] <= ended and times[1] >= began]

    def spans(self, global_id: GlobalId) -> Spans:
        """The same as columns."""
        return self.spans_of([global_id])[global_id]

    def spans_of(self, global_ids: Sequence[GlobalId]) -> dict[GlobalId, Spans]:
        """Of each of some identities."""
        numbers = {camera_id: number for number, camera_id in enumerate(self._cameras)}
        own = [self.tracks(global_id) for global_id in global_ids]
        rows = [(numbers[track[0]], *self._cameras[track[0]].times(track)) for tracks in own for track in tracks]
        columns = np.array(rows, np.float64).reshape(-1, 6).T
        counts = np.array([len(tracks) for tracks in own], np.int64)
        whole = Spans(columns[0].astype(np.int64), columns[1], columns[2], np.repeat(global_ids, counts), *columns[3:])
        ends = np.cumsum(counts)
        places = zip(global_ids, (ends - counts).tolist(), ends.tolist(), strict=True)
        return {global_id: whole.some(slice(begin, end)) for global_id, begin, end in places}

    def everything(self) -> Spans:
        """All remembered tracks."""
        parts = [camera.columns() for camera in self._cameras.values()]
        cameras = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
        if not parts:
            none = np.zeros(0)
            return Spans(cameras, none, none, np.zeros(0, np.int64), none, none, none)
        started_at, ended_at, global_ids, *noted = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Spans(cameras, started_at, ended_at, global_ids.astype(np.int64), *noted)

    def give(self, track: TrackKey, global_id: GlobalId) -> None:
        """A track becomes one of another identity."""
        before = self.identity(track)
        if before is not None:
            self._drop(track, before)
            self._of.setdefault(global_id, {})[track] = None
            self._cameras[track[0]].give(track, global_id)

    def _drop(self, track: TrackKey, global_id: GlobalId) -> None:
        own = self._of[global_id]
        del own[track]
        if not own:
            del self._of[global_id]


def _numbered(cameras: I64, boots: I64, track_ids: I64) -> I64:
    """(N,) one number for the three: to sort by one is several times as fast."""
    _, tracks = np.unique(track_ids, return_inverse=True)  # they may be anything
    size = tracks.max(initial=0) + 1
    numbers: I64 = (cameras * (boots.max(initial=0) + 1) + boots) * size + tracks
    return numbers


class _CameraTracks:
    """Columns instead of objects: the overlap with thousands of tracks is one comparison."""

    def __init__(self, capacity: int) -> None:
        self._slots: OrderedDict[TrackKey, int] = OrderedDict()  # least recently extended first
        self._free = list(range(capacity - 1, -1, -1))
        self._started_at = np.full(capacity, np.inf)
        self._ended_at = np.full(capacity, -np.inf)
        self._global_ids = np.zeros(capacity, np.int64)
        self._odds = np.zeros((capacity, 3))

    def make_room(self) -> tuple[TrackKey, GlobalId] | None:
        """Give up the least recently extended track if there is no room for another; returns it and its identity."""
        if self._free:
            return None
        track, slot = self._slots.popitem(last=False)
        self._free.append(slot)
        self._started_at[slot], self._ended_at[slot] = np.inf, -np.inf
        return track, GlobalId(int(self._global_ids[slot]))

    def begin(self, track: TrackKey, started_at: float, ended_at: float, global_id: GlobalId, odds: Odds) -> None:
        """There must be room."""
        slot = self._slots[track] = self._free.pop()
        self._started_at[slot], self._ended_at[slot] = started_at, ended_at
        self._global_ids[slot], self._odds[slot] = global_id, odds

    def extend(self, track: TrackKey, started_at: float, ended_at: float) -> bool:
        """Returns whether the track is known."""
        slot = self._slots.get(track)
        if slot is None:
            return False
        self._slots.move_to_end(track)
        self._started_at[slot] = min(self._started_at[slot], started_at)
        self._ended_at[slot] = max(self._ended_at[slot], ended_at)
        return True

    def identity(self, track: TrackKey) -> GlobalId | None:
        slot = self._slots.get(track)
        return None if slot is None else GlobalId(int(self._global_ids[slot]))

    def times(self, track: TrackKey) -> tuple[float, ...]:
        """Start, end and what was thought of the first piece."""
        slot = self._slots[track]
        return self._started_at.item(slot), self._ended_at.item(slot), *self._odds[slot].tolist()

    def columns(self) -> tuple[F64, F64, I64, F64, F64, F64]:
        """Those of `Spans`, without the camera; the least recently extended track first."""
        used = np.fromiter(self._slots.values(), np.int64, len(self._slots))
        return self._started_at[used], self._ended_at[used], self._global_ids[used], *self._odds[used].T

    def give(self, track: TrackKey, global_id: GlobalId) -> None:
        self._global_ids[self._slots[track]] = global_id

    def present(self, started_at: float, ended_at: float, but: TrackKey) -> frozenset[GlobalId]:
        overlaps = (self._started_at <= ended_at) & (self._ended_at >= started_at)
        own = self._slots.get(but)
        if own is not None:
            overlaps[own] = False
        return frozenset(GlobalId(int(number)) for number in self._global_ids[overlaps])
