"""Persons by motion: a learnt background for each camera and rules of shape. Needs no weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.camera.motion import PersonShape, find_persons
from pipeline.contracts import F64, CameraId, Detections, Frame, Image

log = logging.getLogger(__name__)

_MOVING = 255  # what the background model writes into its mask; shadows are 127
_SPECK_PX = 12


@dataclass(frozen=True, slots=True)
class MotionDetectorConfig:
    """How the background is learnt and what counts as motion."""

    history_frames: int = 300  # how long someone who stands still stays visible
    variance_limit: float = 20.0  # squared distance from the background in its own variance
    warm_up_frames: int = 5  # of a camera, in which nothing is told: all is new then
    work_height_px: int = 360  # taller frames are made smaller
    flood_share: float = 0.6  # more of the picture in motion is a change of light or a moved camera
    shape: PersonShape = field(default_factory=PersonShape)


@dataclass(slots=True)
class _Background:
    """What one camera sees when nobody moves."""

    size_px: tuple[int, int]
    model: cv2.BackgroundSubtractorMOG2
    frames: int = 0


class MotionDetector:
    """The fallback for static cameras: sees only who moves, and takes a group for one or a guess of several persons.

    Zivkovic and van der Heijden, "Efficient adaptive density estimation per image pixel" (2006), as OpenCV has it.
    """

    def __init__(self, config: MotionDetectorConfig | None = None) -> None:
        self._config = config or MotionDetectorConfig()
        self._backgrounds: dict[CameraId, _Background] = {}
        log.warning("persons are found by motion alone, a fallback for static cameras; give a detector model for more")

    @property
    def name(self) -> str:
        return "motion"

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Frames of one camera must come in the order of their time; the background is learnt from them."""
        return [self._detect(frame) for frame in frames]

    def _detect(self, frame: Frame) -> Detections:
        scale = min(1.0, self._config.work_height_px / frame.image.shape[0])
        image = frame.image
        if scale < 1:
            image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        background = self._background(frame.camera_id, image)
        mask = np.asarray(background.model.apply(image), np.uint8)
        background.frames += 1
        moving = self._cleaned(mask)
        if background.frames <= self._config.warm_up_frames or moving.mean() > self._config.flood_share:
            return Detections.none()
        boxes, moving_px = _blobs(moving)
        found = find_persons(boxes, moving_px, image.shape[0], self._config.shape)
        return Detections((found.boxes / scale).astype(np.float32), found.scores)

    def _background(self, camera_id: CameraId, image: Image) -> _Background:
        """The camera's background; a new one where there is none or the size of the picture has changed."""
        size_px = (image.shape[1], image.shape[0])
        known = self._backgrounds.get(camera_id)
        if known is None or known.size_px != size_px:
            model = cv2.createBackgroundSubtractorMOG2(
                self._config.history_frames, self._config.variance_limit, detectShadows=True
            )
            known = self._backgrounds[camera_id] = _Background(size_px, model)
        return known

    def _cleaned(self, mask: Image) -> npt.NDArray[np.bool_]:
        """Moving pixels without shadows, specks and small holes."""
        moving = (mask == _MOVING).astype(np.uint8)
        unit = max(mask.shape[0] // 120, 1)
        moving = cv2.morphologyEx(moving, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
        tall = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (unit * 2 + 1, unit * 4 + 1))
        return cv2.morphologyEx(moving, cv2.MORPH_CLOSE, tall).astype(bool)


def _blobs(moving: npt.NDArray[np.bool_]) -> tuple[F64, F64]:
    """Connected patches as boxes (N, 4) and their pixels (N,)."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(moving.astype(np.uint8), connectivity=8)
    patches = np.asarray(stats, np.float64)[1:]  # the first is the background
    patches = patches[patches[:, cv2.CC_STAT_AREA] >= _SPECK_PX]
    corner = patches[:, :2]
    return np.hstack([corner, corner + patches[:, 2:4]]), patches[:, cv2.CC_STAT_AREA]
