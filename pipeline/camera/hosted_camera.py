"""One camera inside a worker: its feed, the tracks in it, and the pieces cut from them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from pipeline import metrics
from pipeline.camera.concealing import show
from pipeline.camera.snapshot import small_picture
from pipeline.contracts import (
    F32,
    MAX_IN_VIEW,
    CameraId,
    CameraState,
    CameraStatus,
    Detections,
    Frame,
    Image,
    TrackInView,
    TrackletCrops,
    Tracks,
)
from pipeline.interfaces import Clock, Feed, Tracker

log = logging.getLogger(__name__)

_LATE_S = 1.0


class Cutter(Protocol):
    """Cuts tracks into tracklets: `TrackletCutter`; one that records in tests."""

    def observe(self, frame: Frame, tracks: Tracks, now: float) -> Sequence[TrackletCrops]:
        """The tracklets that are complete with this frame, sent at `now`."""

    def finish(self, now: float) -> Sequence[TrackletCrops]:
        """What is left of all tracks, which end here."""


@dataclass(frozen=True, slots=True)
class CameraParts:
    """What follows the people of one camera. Both are made anew, for another `boot_id`, whenever tracks begin anew."""

    new_tracker: Callable[[str], Tracker]
    new_cutter: Callable[[str], Cutter]
    conceal: Callable[[Image, F32], Image] = show  # what is done with the people (boxes) of a picture before it leaves


@dataclass(frozen=True, slots=True)
class _Follower:
    """Tracker and cutter of one life of a camera's tracks."""

    boot_id: str
    tracker: Tracker
    cutter: Cutter


class HostedCamera:
    """One camera as the worker's loop handles it. Anything that fails in here concerns this camera alone."""

    def __init__(self, feed: Feed, parts: CameraParts, boot_id: str, clock: Clock) -> None:
        self.camera_id: CameraId = feed.camera_id
        self.failed_detections = 0  # in a row
        self._feed = feed
        self._parts = parts
        self._boot_id = boot_id
        self._clock = clock
        self._lives = 0
        self._follower: _Follower | None = None  # None until the next frame
        self._newest: Frame | None = None
        self._tracks = Tracks.none()
        self._seen_s = self._reported_s = clock.monotonic()
        self._analysed_since_report = 0

    @property
    def has_ended(self) -> bool:
        """Whether the feed has nothing more to give, now or later."""
        return self._feed.status().state is CameraState.ENDED

    def take(self) -> Frame | None:
        """The newest frame that is due."""
        return self._feed.take()

    def follow(self, frame: Frame, found: Detections) -> list[TrackletCrops]:
        """Advance the tracks by one frame and cut what is complete."""
        pieces = self._if_time_went_back(frame)
        began_s = self._clock.monotonic()
        follower = self._follower = self._follower or self._begin_anew()
        self._tracks = follower.tracker.update(found, frame.captured_at, frame.image)
        # Those of the tracks too: a tracker shows people whom the detector has just missed.
        people = np.concatenate([found.boxes, self._tracks.boxes])
        frame = replace(frame, image=self._parts.conceal(frame.image, people))
        metrics.TRACK_SECONDS.labels(self.camera_id).observe(self._clock.monotonic() - began_s)
        pieces += follower.cutter.observe(frame, self._tracks, self._clock.now())
        metrics.PEOPLE.labels(self.camera_id).set(len(self._tracks))
        metrics.FRAMES_ANALYSED.labels(self.camera_id).inc()
        self._newest = frame
        self._seen_s = self._clock.monotonic()
        self._analysed_since_report += 1
        return pieces

    def finish(self) -> list[TrackletCrops]:
        """End all tracks and give what is left of them; those that come later begin anew."""
        pieces = list(self._follower.cutter.finish(self._clock.now())) if self._follower is not None else []
        self.reset()
        return pieces

    def reset(self) -> None:
        """Forget all tracks, for instance after they failed."""
        self._newest = None
        self._tracks = Tracks.none()
        metrics.PEOPLE.labels(self.camera_id).set(0)
        self._follower = None

    @property
    def quiet_s(self) -> float:
        """Seconds since the last frame."""
        return self._clock.monotonic() - self._seen_s

    def status(self, detector: str) -> CameraStatus:
        """The feed's status with what the worker knows; the rate is that since the last call."""
        now_s = self._clock.monotonic()
        elapsed_s = now_s - self._reported_s
        analysed_fps = self._analysed_since_report / elapsed_s if elapsed_s > 0 else 0.0
        self._reported_s, self._analysed_since_report = now_s, 0
        return self._feed.status().model_copy(
            update={
                "analysed_fps": analysed_fps,
                "people": len(self._tracks),
                "detector": detector,
                "boot_id": self._follower.boot_id if self._follower is not None else None,
                "in_view": in_view(self._tracks, self._newest),
            }
        )

    def snapshot(self, width_px: int, quality: int) -> bytes | None:
        """The newest analysed frame as a small JPEG."""
        return None if self._newest is None else small_picture(self._newest.image, width_px, quality)

    def close(self) -> None:
        self._feed.close()

    def _if_time_went_back(self, frame: Frame) -> list[TrackletCrops]:
        """A new stream on a clock that was set back: its frames cannot continue the tracks there are."""
        if self._newest is None or frame.captured_at >= self._newest.captured_at - _LATE_S:
            return []
        log.info("camera %s: time went back, its tracks begin anew", self.camera_id)
        return self.finish()

    def _begin_anew(self) -> _Follower:
        # Numbers of tracks start over, so the pieces need another name than those of the tracks before.
        boot_id = f"{self._boot_id}-{self._lives}" if self._lives else self._boot_id
        self._lives += 1
        return _Follower(boot_id, self._parts.new_tracker(boot_id), self._parts.new_cutter(boot_id))


def in_view(tracks: Tracks, frame: Frame | None) -> tuple[TrackInView, ...]:
    """Where the tracks of `frame` are in it, cut at its edges."""
    if frame is None:
        return ()
    height_px, width_px = frame.image.shape[:2]
    shares = np.clip(tracks.boxes / (width_px, height_px, width_px, height_px), 0.0, 1.0).round(4).tolist()
    return tuple(
        TrackInView(track_id=track_id, box=(x1, y1, x2, y2))
        for track_id, (x1, y1, x2, y2) in zip(tracks.track_ids.tolist(), shares[:MAX_IN_VIEW], strict=False)
    )
