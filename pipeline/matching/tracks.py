"""Who was where: the recent tracks of each camera with their identities."""

from __future__ import annotations

import numpy as np

from pipeline.contracts import CameraId, GlobalId
from pipeline.matching.assignment import TrackKey


class TrackBook:
    """The newest tracks of every camera, at most `capacity` per camera.

    A track occupies its camera from its first to its last piece. The bound is a number and not a time, so that a camera
    with a wrong clock can neither fill the memory nor wipe it. The same calls in the same order give the same book.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._cameras: dict[str, _CameraTracks] = {}

    def record(self, track: TrackKey, started_at: float, ended_at: float, global_id: GlobalId) -> None:
        """One more piece of a track; the camera's least recently extended track makes room."""
        camera = self._cameras.get(track[0])
        if camera is None:
            camera = self._cameras[track[0]] = _CameraTracks(self._capacity)
        camera.record(track, started_at, ended_at, global_id)

    def rename(self, track: TrackKey, global_id: GlobalId) -> None:
        """The pieces so far belong to somebody else, if the track is remembered."""
        camera = self._cameras.get(track[0])
        if camera is not None:
            camera.rename(track, global_id)

    def identity(self, track: TrackKey) -> GlobalId | None:
        """The identity of the track's pieces so far, if it is remembered."""
        camera = self._cameras.get(track[0])
        return camera.identity(track) if camera else None

    def present(self, camera_id: CameraId, started_at: float, ended_at: float, but: TrackKey) -> frozenset[GlobalId]:
        """Who was in the camera at any moment of the closed interval, in tracks other than `but`."""
        camera = self._cameras.get(camera_id)
        return camera.present(started_at, ended_at, but) if camera else frozenset()


class _CameraTracks:
    """Columns instead of objects: the overlap with thousands of tracks is one comparison."""

    def __init__(self, capacity: int) -> None:
        self._slots: dict[TrackKey, int] = {}  # least recently extended first
        self._started_at = np.full(capacity, np.inf)
        self._ended_at = np.full(capacity, -np.inf)
        self._global_ids = np.zeros(capacity, np.int64)

    def record(self, track: TrackKey, started_at: float, ended_at: float, global_id: GlobalId) -> None:
        slot = self._slots.pop(track, None)
        if slot is None:
            is_full = len(self._slots) == len(self._global_ids)
            slot = self._slots.pop(next(iter(self._slots))) if is_full else len(self._slots)
            self._started_at[slot], self._ended_at[slot] = started_at, ended_at
            self._global_ids[slot] = global_id
        self._slots[track] = slot
        self._started_at[slot] = min(self._started_at[slot], started_at)
        self._ended_at[slot] = max(self._ended_at[slot], ended_at)

    def rename(self, track: TrackKey, global_id: GlobalId) -> None:
        slot = self._slots.get(track)
        if slot is not None:
            self._global_ids[slot] = global_id

    def identity(self, track: TrackKey) -> GlobalId | None:
        slot = self._slots.get(track)
        return None if slot is None else GlobalId(int(self._global_ids[slot]))

    def present(self, started_at: float, ended_at: float, but: TrackKey) -> frozenset[GlobalId]:
        overlaps = (self._started_at <= ended_at) & (self._ended_at >= started_at)
        own = self._slots.get(but)
        if own is not None:
            overlaps[own] = False
        return frozenset(GlobalId(int(number)) for number in self._global_ids[overlaps])
