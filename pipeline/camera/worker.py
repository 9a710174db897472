"""The camera worker's loop: newest frames in, tracklets out, one detector batch for all cameras.

Frames may be dropped, messages may not: while the bus takes nothing, frames are dropped and counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline import metrics
from pipeline.camera.hosted_camera import HostedCamera
from pipeline.contracts import CameraId, Detections, Frame, TrackletCrops
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.interfaces import Clock, Detector, Outbox, StatusBoard

log = logging.getLogger(__name__)

_SUSPECT_AFTER = 3  # failed detections in a row, and a camera's frames are looked at apart from the others'
_HOPELESS_AFTER = 20  # rounds in a row that failed for every camera: it is not the cameras


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Pauses and pictures of the worker."""

    idle_s: float = 0.01  # wait when no camera has a frame
    tend_every_s: float = 0.1  # look for cameras that have ended or fallen silent
    finish_after_s: float = 3.0  # without frames, and the tracks of a camera end
    report_every_s: float = 1.0
    board_pause_s: float = 10.0  # after the status board did not answer
    snapshot_width_px: int = 480
    snapshot_quality: int = 70
    ends_with_recordings: bool = True  # stop when every camera was a recording and has ended


@dataclass(frozen=True, slots=True)
class _Look:
    """One camera's newest frame, on its way through the detector."""

    camera: HostedCamera
    frame: Frame


class CameraWorker:
    """Hosts one or many cameras. `run` in production; tests call `run_once`."""

    def __init__(
        self,
        cameras: Sequence[HostedCamera],
        detector: Detector,
        outbox: Outbox,
        board: StatusBoard,
        clock: Clock,
        config: WorkerConfig,
    ) -> None:
        self._cameras = list(cameras)
        self._detector = detector
        self._outbox = outbox
        self._board = board
        self._clock = clock
        self._config = config
        self._report_due_s = self._tend_due_s = clock.monotonic()
        self._failed_rounds = 0
        self._ended: set[CameraId] = set()

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Work until asked to stop, or until all recordings have ended; then send what is left and close everything.

        Raises `ConfigurationError` when the detector can work for no camera.
        """
        try:
            while not should_stop() and not (self._config.ends_with_recordings and self.has_ended):
                if not self.run_once():
                    self._clock.sleep(self._config.idle_s)
        finally:
            self.stop()

    @property
    def has_ended(self) -> bool:
        return len(self._ended) == len(self._cameras)

    def run_once(self) -> bool:
        """One round over all cameras. Whether there was a frame."""
        self._outbox.pump()
        looks = [look for camera in self._cameras if (look := self._take(camera)) is not None]
        if self._outbox.is_blocked:
            for look in looks:
                metrics.FRAMES_DROPPED.labels(look.camera.camera_id, "backpressure").inc()
        elif looks:
            for look, found in self._detect_all(looks):
                self._follow(look, found)
        now_s = self._clock.monotonic()
        if now_s >= self._tend_due_s:
            self._tend_due_s = now_s + self._config.tend_every_s
            for camera in self._cameras:
                self._finish_if_quiet(camera)
        if now_s >= self._report_due_s:
            self._report()
        return bool(looks)

    def stop(self) -> None:
        """End all tracks, send their last tracklets, tell the board and close the feeds."""
        for camera in self._cameras:
            self._finish(camera)
        self._report()
        for camera in self._cameras:
            with self._isolated(camera):
                camera.close()

    # --- one round ------------------------------

    def _take(self, camera: HostedCamera) -> _Look | None:
        with self._isolated(camera):
            frame = camera.take()
            if frame is not None:
                age_s = self._clock.now() - frame.captured_at
                metrics.FRAME_AGE.labels(camera.camera_id).observe(max(0.0, age_s))
                return _Look(camera, frame)
        return None

    def _detect_all(self, looks: Sequence[_Look]) -> list[tuple[_Look, Detections]]:
        """One batch for all cameras, but for those whose frames have failed again and again."""
        trusted = [look for look in looks if look.camera.failed_detections < _SUSPECT_AFTER]
        suspects = [look for look in looks if look.camera.failed_detections >= _SUSPECT_AFTER]
        seen = self._detect(trusted) + [pair for look in suspects for pair in self._detect([look])]
        self._failed_rounds = 0 if seen else self._failed_rounds + 1
        if self._failed_rounds >= _HOPELESS_AFTER:
            raise Unavailable(
                f"the detector {self._detector.name} failed {self._failed_rounds} times in a row for all cameras; "
                "the log tells why; the worker must be started again"
            )
        return seen

    def _detect(self, looks: Sequence[_Look]) -> list[tuple[_Look, Detections]]:
        if not looks:
            return []
        began_s = self._clock.monotonic()
        try:
            found = self._detector.detect([look.frame for look in looks])
        except ConfigurationError:
            raise
        except Exception as error:  # any library may stand behind a detector, and any frame may upset it
            if len(looks) > 1:
                return [pair for look in looks for pair in self._detect([look])]
            self._note_failure(looks[0].camera, error)
            looks[0].camera.failed_detections += 1
            return []
        metrics.DETECT_SECONDS.labels(self._detector.name).observe(self._clock.monotonic() - began_s)
        metrics.DETECT_BATCH.observe(len(looks))
        for look in looks:
            look.camera.failed_detections = 0
        return list(zip(looks, found, strict=True))

    def _follow(self, look: _Look, found: Detections) -> None:
        with self._isolated(look.camera):
            self._send(look.camera, look.camera.follow(look.frame, found))

    def _finish_if_quiet(self, camera: HostedCamera) -> None:
        if camera.camera_id in self._ended:
            return
        with self._isolated(camera):
            if camera.has_ended:
                self._ended.add(camera.camera_id)
                self._finish(camera)
            elif camera.quiet_s > self._config.finish_after_s:
                self._finish(camera)

    def _finish(self, camera: HostedCamera) -> None:
        with self._isolated(camera):
            self._send(camera, camera.finish())

    def _send(self, camera: HostedCamera, pieces: Sequence[TrackletCrops]) -> None:
        if pieces:
            self._outbox.send(pieces)
            metrics.TRACKLETS.labels(camera.camera_id).inc(len(pieces))
            metrics.CROPS.labels(camera.camera_id).inc(sum(len(piece.crops) for piece in pieces))

    def _report(self) -> None:
        now_s = self._clock.monotonic()
        self._report_due_s = now_s + self._config.report_every_s
        try:
            for camera in self._cameras:
                with self._isolated(camera):
                    picture = camera.snapshot(self._config.snapshot_width_px, self._config.snapshot_quality)
                    self._board.report(camera.status(self._detector.name), picture)
        except (Unavailable, ConfigurationError) as error:
            # A board that hangs would hold up every frame: leave it alone for a while. A refused password is no reason
            # to stop watching either: messages wait on disk, and the operator may mend it meanwhile.
            self._report_due_s = now_s + self._config.board_pause_s
            log.warning("the status of the cameras cannot be told: %s", error)

    @contextmanager
    def _isolated(self, camera: HostedCamera) -> Iterator[None]:
        """Keep one camera's trouble from the others: its tracks begin anew, the round goes on."""
        try:
            yield
        except (Unavailable, ConfigurationError):
            raise  # of the bus or the board, not of this camera
        except Exception as error:  # a source, a tracker or a picture that fails in an unforeseen way
            self._note_failure(camera, error)
            camera.reset()

    def _note_failure(self, camera: HostedCamera, error: Exception) -> None:
        metrics.SERVICE_ERRORS.labels("camera", type(error).__name__).inc()
        log.error("camera %s: %s", camera.camera_id, type(error).__name__, exc_info=error)
