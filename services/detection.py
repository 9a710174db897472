"""Which detector and which tracker an operator's words mean: one dictionary each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipeline.errors import ConfigurationError
from pipeline.interfaces import Detector, Tracker

log = logging.getLogger(__name__)


def _motion(model: Path | None, min_score: float | None) -> Detector:
    from pipeline.adapters.motion_detector import MotionDetector

    if model is not None or min_score is not None:
        log.warning("the motion detector has no model and no scores; both settings are ignored")
    return MotionDetector()


def _onnx(model: Path | None, min_score: float | None) -> Detector:
    from pipeline.adapters.onnx_detector import OnnxDetector, OnnxDetectorConfig

    config = OnnxDetectorConfig()
    return OnnxDetector(_needed(model, "onnx"), config if min_score is None else replace(config, min_score=min_score))


def _ultralytics(model: Path | None, min_score: float | None) -> Detector:
    from pipeline.adapters.ultralytics_models import UltralyticsDetector, UltralyticsDetectorConfig

    config = UltralyticsDetectorConfig()
    return UltralyticsDetector(
        _needed(model, "ultralytics"), config if min_score is None else replace(config, min_score=min_score)
    )


def _bytetrack() -> Tracker:
    from pipeline.camera.tracker import ByteTracker

    return ByteTracker()


def _botsort() -> Tracker:
    from pipeline.adapters.ultralytics_models import UltralyticsTracker

    return UltralyticsTracker()


DETECTORS: dict[str, Callable[[Path | None, float | None], Detector]] = {
    "motion": _motion,
    "onnx": _onnx,
    "ultralytics": _ultralytics,
}
TRACKERS: dict[str, Callable[[], Tracker]] = {"bytetrack": _bytetrack, "botsort": _botsort}


def open_detector(kind: str, model: Path | None, min_score: float | None = None) -> Detector:
    """The detector of that name. `auto` goes by the model file, and is `motion` without one.

    Raises `ConfigurationError` for an unknown name or a model that cannot be used.
    """
    if kind == "auto":
        kind = "motion" if model is None else "onnx" if model.suffix == ".onnx" else "ultralytics"
        log.info("detector: %s", kind)
    if kind not in DETECTORS:
        raise ConfigurationError(f"detector {kind!r} is unknown; known are auto, {', '.join(DETECTORS)}")
    return DETECTORS[kind](model, min_score)


def open_tracker(kind: str) -> Tracker:
    """A new tracker for one camera. Raises `ConfigurationError` for an unknown name."""
    if kind not in TRACKERS:
        raise ConfigurationError(f"tracker {kind!r} is unknown; known are {', '.join(TRACKERS)}")
    return TRACKERS[kind]()


def _needed(model: Path | None, kind: str) -> Path:
    if model is None:
        raise ConfigurationError(
            f"the detector {kind} needs a model; set tracking.detector_model to its file, or use the detector motion"
        )
    return model
