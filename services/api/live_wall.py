"""What all cameras show just now: read by one for everybody who watches, so that nobody makes more work than another.

Camera workers write their status and picture to the board and know nothing of those who look. Of the board and the
database is asked at most once in `pause_s`, however many browsers ask, and a slow browser holds up nobody.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.adapters.track_names import Track
from pipeline.contracts import CameraId, CameraStatus, GlobalId
from pipeline.errors import Unavailable
from pipeline.interfaces import Clock, StatusBoard

PAUSE_S = 0.5
_NAMED_WITHIN_S = 600.0  # a tracklet is a few seconds long, and one that waits so long for its identity says little
_WATCHED_S = 10.0  # after a picture was asked for, the next ones are fetched together with the statuses
_PICTURES_KEPT = 3  # a browser asks for the picture of the status that it has, which may not be the newest any more

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in shares of the frame


class Names(Protocol):
    """Who tracks are: `TrackNames`; a table in tests."""

    def names(self, tracks: Collection[Track], since_at: float) -> dict[Track, GlobalId]: ...


@dataclass(frozen=True, slots=True)
class PersonInView:
    """Somebody in the newest picture of a camera; `global_id` is None until the first tracklet is decided."""

    box: Box
    global_id: GlobalId | None


@dataclass(frozen=True, slots=True)
class CameraView:
    """One camera and whom it shows."""

    status: CameraStatus
    people: tuple[PersonInView, ...] = ()


class LivePictures(Protocol):
    """What the API shows of cameras: `LiveWall`, or what a caller may see of it."""

    def statuses(self) -> list[CameraStatus]: ...

    def views(self) -> list[CameraView]:
        """By name. Raises `Unavailable`."""

    def snapshot(self, camera_id: CameraId, reported_at: float | None = None) -> bytes | None:
        """The JPEG that came with the status of `reported_at` if it is kept still, else the newest."""


@dataclass(slots=True)
class _Roll:
    """The last pictures of a camera that is watched, by the moment of their report."""

    asked_s: float
    pictures: OrderedDict[float, bytes | None] = field(default_factory=OrderedDict)

    def keep(self, reported_at: float, picture: bytes | None) -> None:
        self.pictures[reported_at] = picture
        while len(self.pictures) > _PICTURES_KEPT:
            self.pictures.popitem(last=False)


class LiveWall:
    """`LivePictures` over the status board. Safe to use from many threads."""

    def __init__(self, board: StatusBoard, names: Names, clock: Clock, pause_s: float = PAUSE_S) -> None:
        self._board = board
        self._names = names
        self._clock = clock
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._read_s = float("-inf")
        self._views: list[CameraView] = []
        self._trouble: Unavailable | None = None
        self._rolls: dict[str, _Roll] = {}

    def statuses(self) -> list[CameraStatus]:
        return [view.status for view in self.views()]

    def views(self) -> list[CameraView]:
        with self._lock:
            return list(self._fresh())

    def snapshot(self, camera_id: CameraId, reported_at: float | None = None) -> bytes | None:
        with self._lock:
            view = next((view for view in self._fresh() if view.status.camera_id == camera_id), None)
            if view is None:
                return None
            now_s = self._clock.monotonic()
            roll = self._rolls.setdefault(camera_id, _Roll(now_s))
            roll.asked_s = now_s
            if not roll.pictures:
                roll.keep(view.status.reported_at, self._board.snapshot(camera_id))
            newest = next(reversed(roll.pictures.values()))
            return newest if reported_at is None else roll.pictures.get(reported_at, newest)

    def _fresh(self) -> Sequence[CameraView]:
        now_s = self._clock.monotonic()
        if now_s - self._read_s >= self._pause_s:
            try:
                statuses = sorted(self._board.statuses(), key=lambda status: status.camera_id)
                self._develop(statuses, now_s)
                self._views, self._trouble = self._named(statuses), None
            except Unavailable as error:
                self._trouble = error
            self._read_s = self._clock.monotonic()  # those who waited meanwhile get what came of it, and ask no more
        if self._trouble is not None:
            raise Unavailable(str(self._trouble)) from self._trouble
        return self._views

    def _develop(self, statuses: Sequence[CameraStatus], now_s: float) -> None:
        """Fetch what is watched right after its status: so both come from one report, but for one that was written just
        in between."""
        known = {status.camera_id: status for status in statuses}
        watched = {name: roll for name, roll in self._rolls.items() if now_s - roll.asked_s < _WATCHED_S}
        self._rolls = {name: roll for name, roll in watched.items() if name in known}
        for name, roll in self._rolls.items():
            roll.keep(known[name].reported_at, self._board.snapshot(CameraId(name)))

    def _named(self, statuses: Sequence[CameraStatus]) -> list[CameraView]:
        tracks = {
            Track(CameraId(status.camera_id), status.boot_id, seen.track_id)
            for status in statuses
            if status.boot_id is not None
            for seen in status.in_view
        }
        try:
            names = self._names.names(tracks, self._clock.now() - _NAMED_WITHIN_S) if tracks else {}
        except Unavailable:
            names = {}  # the pictures need no database
        return [_view(status, names) for status in statuses]


def shown_by(board: LivePictures) -> tuple[list[CameraView], str]:
    """The cameras by name, and why they cannot be told."""
    try:
        return board.views(), ""
    except Unavailable as error:
        return [], str(error)


def _view(status: CameraStatus, names: dict[Track, GlobalId]) -> CameraView:
    camera_id, boot_id = CameraId(status.camera_id), status.boot_id or ""
    people = [PersonInView(seen.box, names.get(Track(camera_id, boot_id, seen.track_id))) for seen in status.in_view]
    return CameraView(status, tuple(people))
