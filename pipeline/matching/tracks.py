"""Who was where: the recent tracks of each camera with their identities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F64, I64, CameraId, GlobalId
from pipeline.matching.assignment import TrackKey


@dataclass(frozen=True, eq=False)
class Spans:
    """Tracks as columns: when, and who."""

    started_at: F64
    ended_at: F64
    global_ids: I64
    strangers: F64  # how probably the person had not been seen before

    def __len__(self) -> int:
        return len(self.global_ids)

    def of(self, global_id: GlobalId) -> Spans:
        """Those of one identity."""
        own = self.global_ids == global_id
        return Spans(self.started_at[own], self.ended_at[own], self.global_ids[own], self.strangers[own])


class TrackBook:
    """The newest tracks of every camera, at most `capacity` per camera.

    A track occupies its camera from its first to its last piece. The bound is a number and not a time, so that a camera
    with a wrong clock can neither fill the memory nor wipe it. The same calls in the same order give the same book.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._cameras: dict[str, _CameraTracks] = {}

    def record(
        self, track: TrackKey, started_at: float, ended_at: float, global_id: GlobalId, stranger: float
    ) -> None:
        """One more piece of a track; the camera's least recently extended track makes room.

        `stranger` counts for the first piece: how probably the person had not been seen before.
        """
        camera = self._cameras.get(track[0])
        if camera is None:
            camera = self._cameras[track[0]] = _CameraTracks(self._capacity)
        camera.record(track, started_at, ended_at, global_id, stranger)

    def identity(self, track: TrackKey) -> GlobalId | None:
        """The identity of the track's pieces so far, if it is remembered."""
        camera = self._cameras.get(track[0])
        return camera.identity(track) if camera else None

    def present(self, camera_id: CameraId, started_at: float, ended_at: float, but: TrackKey) -> frozenset[GlobalId]:
        """Who was in the camera at any moment of the closed interval, in tracks other than `but`."""
        camera = self._cameras.get(camera_id)
        return camera.present(started_at, ended_at, but) if camera else frozenset()

    def cameras(self) -> Iterator[tuple[str, Spans]]:
        """The remembered tracks of each camera."""
        for camera_id, camera in self._cameras.items():
            yield camera_id, camera.spans()

    def spans(self, global_id: GlobalId) -> list[tuple[str, Spans]]:
        """The remembered tracks of one identity, by camera."""
        found = [(camera_id, camera.spans().of(global_id)) for camera_id, camera in self._cameras.items()]
        return [(camera_id, spans) for camera_id, spans in found if len(spans)]

    def same_person(self, track: TrackKey) -> list[TrackKey]:
        """Other tracks of the same camera and identity that overlap with a track: two of them cannot be one person."""
        camera = self._cameras.get(track[0])
        return camera.same_person(track) if camera else []

    def join(self, into: GlobalId, other: GlobalId) -> None:
        """All tracks of `other` become tracks of `into`."""
        for camera in self._cameras.values():
            camera.join(into, other)

    def give(self, track: TrackKey, global_id: GlobalId) -> None:
        """A track becomes one of another identity."""
        camera = self._cameras.get(track[0])
        if camera is not None:
            camera.give(track, global_id)



class _CameraTracks:
    """Columns instead of objects: the overlap with thousands of tracks is one comparison."""

    def __init__(self, capacity: int) -> None:
        self._slots: dict[TrackKey, int] = {}  # least recently extended first
        self._started_at = np.full(capacity, np.inf)
        self._ended_at = np.full(capacity, -np.inf)
        self._global_ids = np.zeros(capacity, np.int64)
        self._strangers = np.zeros(capacity)

    def record(
        self, track: TrackKey, started_at: float, ended_at: float, global_id: GlobalId, stranger: float
    ) -> None:
        slot = self._slots.pop(track, None)
        if slot is None:
            is_full = len(self._slots) == len(self._global_ids)
            slot = self._slots.pop(next(iter(self._slots))) if is_full else len(self._slots)
            self._started_at[slot], self._ended_at[slot] = started_at, ended_at
            self._global_ids[slot] = global_id
            self._strangers[slot] = stranger
        self._slots[track] = slot
        self._started_at[slot] = min(self._started_at[slot], started_at)
        self._ended_at[slot] = max(self._ended_at[slot], ended_at)

    def identity(self, track: TrackKey) -> GlobalId | None:
        slot = self._slots.get(track)
        return None if slot is None else GlobalId(int(self._global_ids[slot]))

    def spans(self) -> Spans:
        used = np.fromiter(self._slots.values(), np.int64, len(self._slots))
        return Spans(self._started_at[used], self._ended_at[used], self._global_ids[used], self._strangers[used])

    def same_person(self, track: TrackKey) -> list[TrackKey]:
        own = self._slots.get(track)
        if own is None:
            return []
        overlaps = (self._started_at <= self._ended_at[own]) & (self._ended_at >= self._started_at[own])
        overlaps &= self._global_ids == self._global_ids[own]
        overlaps[own] = False
        if not overlaps.any():
            return []
        return [other for other, slot in self._slots.items() if overlaps[slot]]

    def join(self, into: GlobalId, other: GlobalId) -> None:
        self._global_ids[self._global_ids == other] = into

    def give(self, track: TrackKey, global_id: GlobalId) -> None:
        slot = self._slots.get(track)
        if slot is not None:
            self._global_ids[slot] = global_id

    def present(self, started_at: float, ended_at: float, but: TrackKey) -> frozenset[GlobalId]:
        overlaps = (self._started_at <= ended_at) & (self._ended_at >= started_at)
        own = self._slots.get(but)
        if own is not None:
            overlaps[own] = False
        return frozenset(GlobalId(int(number)) for number in self._global_ids[overlaps])
