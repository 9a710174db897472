"""Which detector has which name, and which tracker: two dictionaries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.camera.tracker import ByteTracker
from pipeline.errors import ConfigurationError
from pipeline.interfaces import Detector, Tracker

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """What the operator may say about any detector; None leaves it to the detector."""

    model: Path | None = None
    min_score: float | None = None
    threads: int = 1


def open_detector(name: str = AUTO, options: DetectorOptions | None = None) -> Detector:
    """The detector `name`; `auto` goes by the model file, and without one finds persons by motion.

    Raises `ConfigurationError` for an unknown name, a missing model file, or one that is no detector.
    """
    options = options or DetectorOptions()
    chosen = _by_file(options.model) if name == AUTO else name
    if chosen not in DETECTORS:
        raise ConfigurationError(f"there is no detector {name!r}; known are {AUTO}, {', '.join(DETECTORS)}")
    return DETECTORS[chosen](options)


def open_tracker(name: str = "bytetrack") -> Tracker:
    """A new tracker, for one camera. Raises `ConfigurationError` for an unknown name or a missing extra."""
    if name not in TRACKERS:
        raise ConfigurationError(f"there is no tracker {name!r}; known are {', '.join(TRACKERS)}")
    return TRACKERS[name]()


def _by_file(model: Path | None) -> str:
    if model is None:
        return "motion"
    return "onnx" if model.suffix == ".onnx" else "ultralytics"


def _motion(options: DetectorOptions) -> Detector:
    from pipeline.adapters.motion_detector import MotionDetector

    if options.model is not None:
        raise ConfigurationError(f"the detector 'motion' takes no model, but {options.model} is given; leave one out")
    return MotionDetector()


def _onnx(options: DetectorOptions) -> Detector:
    from pipeline.adapters.onnx_detector import OnnxDetector, OnnxDetectorConfig

    config = OnnxDetectorConfig(threads=options.threads)
    if options.min_score is not None:
        config = replace(config, min_score=options.min_score)
    return OnnxDetector(_model(options, "onnx", "an .onnx file"), config)


def _ultralytics(options: DetectorOptions) -> Detector:
    from pipeline.adapters.ultralytics_models import UltralyticsDetector, UltralyticsDetectorConfig

    config = UltralyticsDetectorConfig(threads=options.threads)
    if options.min_score is not None:
        config = replace(config, min_score=options.min_score)
    return UltralyticsDetector(_model(options, "ultralytics", "a YOLO checkpoint or exported folder"), config)


def _botsort() -> Tracker:
    from pipeline.adapters.ultralytics_models import UltralyticsTracker

    return UltralyticsTracker("botsort")


def _model(options: DetectorOptions, name: str, expected: str) -> Path:
    if options.model is None:
        raise ConfigurationError(f"the detector {name!r} needs a model, but none is given; name {expected}")
    return options.model


DETECTORS: dict[str, Callable[[DetectorOptions], Detector]] = {
    "motion": _motion,
    "onnx": _onnx,
    "ultralytics": _ultralytics,
}
TRACKERS: dict[str, Callable[[], Tracker]] = {"bytetrack": ByteTracker, "botsort": _botsort}
