"""Which detector and which tracker an operator's words mean: one dictionary each."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.errors import ConfigurationError
from pipeline.interfaces import Detector, Tracker
from reid_models.manifest import DEFAULT_BUNDLE, MANIFEST
from services.settings import Settings

if TYPE_CHECKING:
    from pipeline.adapters.onnx_detector import OnnxDetectorConfig

log = logging.getLogger(__name__)

SHIPPED = DEFAULT_BUNDLE.parent / "person-nano"


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """How a detector is run; what it does not know, it ignores."""

    min_score: float | None = None  # default: the detector's own
    threads: int = 1
    runtime: Literal["auto", "onnxruntime", "openvino"] = "auto"


@dataclass(frozen=True, slots=True)
class DetectorChoice:
    """What is run, and in words why."""

    kind: str
    model: Path | None
    reason: str


def _motion(model: Path | None, options: DetectorOptions) -> Detector:
    from pipeline.adapters.motion_detector import MotionDetector

    if model is not None or options.min_score is not None:
        log.warning("the motion detector has no model and no scores; both settings are ignored")
    return MotionDetector()


def _onnx(model: Path | None, options: DetectorOptions) -> Detector:
    from pipeline.adapters.onnx_detector import OnnxDetector

    return OnnxDetector(_needed(model, "onnx"), _onnx_config(options))


def _ultralytics(model: Path | None, options: DetectorOptions) -> Detector:
    from pipeline.adapters.ultralytics_models import UltralyticsDetector, UltralyticsDetectorConfig

    config = UltralyticsDetectorConfig(threads=options.threads)
    if options.min_score is not None:
        config = replace(config, min_score=options.min_score)
    return UltralyticsDetector(_needed(model, "ultralytics"), config)


def _bytetrack() -> Tracker:
    from pipeline.camera.tracker import ByteTracker

    return ByteTracker()


def _botsort() -> Tracker:
    from pipeline.adapters.ultralytics_models import UltralyticsTracker

    return UltralyticsTracker()


DETECTORS: dict[str, Callable[[Path | None, DetectorOptions], Detector]] = {
    "motion": _motion,
    "onnx": _onnx,
    "person-nano": _onnx,
    "ultralytics": _ultralytics,
}
_ONNX_KINDS = frozenset({"onnx", "person-nano"})
WITHOUT_MODEL = frozenset({"motion", "person-nano"})  # of the user's
TRACKERS: dict[str, Callable[[], Tracker]] = {"bytetrack": _bytetrack, "botsort": _botsort}


def choose_detector(
    kind: str, model: Path | None, weights_folders: Sequence[Path] = (), shipped: Path = SHIPPED
) -> DetectorChoice:
    """What `kind` means here. `auto` is the user's model; else Ultralytics' own weights, where the extra is installed
    and a file lies in `weights_folders` or in its own; else the shipped detector; else `motion`.

    Raises `ConfigurationError` for an unknown name, and for a model that would not be used.
    """
    if kind != "auto":
        if kind not in DETECTORS:
            raise ConfigurationError(f"detector {kind!r} is unknown; known are auto, {', '.join(DETECTORS)}")
        if model is not None and kind in WITHOUT_MODEL:
            raise ConfigurationError(
                f"tracking.detector is {kind}, which has no use for the model {model} of tracking.detector_model; take "
                "one of the two away"
            )
        return DetectorChoice(kind, shipped if kind == "person-nano" else model, "as set")
    if model is not None:
        is_ours = model.suffix == ".onnx" or (model / MANIFEST).is_file()
        return DetectorChoice("onnx" if is_ours else "ultralytics", model, "the model that is set")
    from pipeline.adapters.ultralytics_models import present_weights

    weights = present_weights(weights_folders)
    if weights is not None:
        return DetectorChoice("ultralytics", weights, f"no model is set, and Ultralytics' weights {weights} are here")
    if (shipped / MANIFEST).is_file():
        return DetectorChoice("person-nano", shipped, "no model is set, and no weights of Ultralytics are here")
    return DetectorChoice("motion", None, f"no model is set, and the shipped one is missing from {shipped}")


def open_detector(
    kind: str,
    model: Path | None,
    options: DetectorOptions = DetectorOptions(),
    weights_folders: Sequence[Path] = (),
) -> Detector:
    """The detector of that name, see `choose_detector`. Raises `ConfigurationError` for a model that cannot be used."""
    choice = choose_detector(kind, model, weights_folders)
    detector = DETECTORS[choice.kind](choice.model, options)
    log.info("detector: %s (%s)", detector.name, choice.reason)
    return detector


def configured_detector(settings: Settings) -> Detector:
    """The detector of `settings`. Raises as `open_detector`."""
    tracking = settings.tracking
    return open_detector(tracking.detector, tracking.detector_model, _options(settings), weights_folders(settings))


def try_detector_runtimes(settings: Settings) -> None:
    """Make the trial that a camera worker would make at its start, while nothing else uses the machine yet.

    What is wrong with the settings is left for the worker to say.
    """
    tracking = settings.tracking
    with contextlib.suppress(ConfigurationError):
        choice = choose_detector(tracking.detector, tracking.detector_model, weights_folders(settings))
        if choice.kind in _ONNX_KINDS and tracking.detector_runtime == "auto":
            from pipeline.adapters.detector_trial import fastest

            fastest(_needed(choice.model, choice.kind), _onnx_config(_options(settings)))


def detector_in_words(settings: Settings) -> str:
    """Which detector `settings` mean, why, and on which runtime; that is measured now if it has not been yet."""
    from pipeline.adapters.detector_trial import kept_trial
    from pipeline.adapters.onnx_detector import OnnxDetector
    from pipeline.runtimes.trial import as_text

    tracking = settings.tracking
    choice = choose_detector(tracking.detector, tracking.detector_model, weights_folders(settings))
    detector = configured_detector(settings)
    told = f"{detector.name} ({choice.reason})"
    if not isinstance(detector, OnnxDetector):
        return told
    told += f", on {detector.runtime}, licence: {detector.manifest.licence}"
    trial = kept_trial(detector.model, detector.config)
    return (
        told if trial is None else f"{told}; frames on {tracking.detector_threads} threads: {as_text(trial.outcomes)}"
    )


def weights_folders(settings: Settings) -> tuple[Path, ...]:
    """Where weights of Ultralytics are looked for, beside its own folder."""
    return Path(), settings.data_dir


def open_tracker(kind: str) -> Tracker:
    """A new tracker for one camera. Raises `ConfigurationError` for an unknown name."""
    if kind not in TRACKERS:
        raise ConfigurationError(f"tracker {kind!r} is unknown; known are {', '.join(TRACKERS)}")
    return TRACKERS[kind]()


def _options(settings: Settings) -> DetectorOptions:
    tracking = settings.tracking
    return DetectorOptions(tracking.detector_score, tracking.detector_threads, tracking.detector_runtime)


def _onnx_config(options: DetectorOptions) -> OnnxDetectorConfig:
    from pipeline.adapters.onnx_detector import OnnxDetectorConfig

    return OnnxDetectorConfig(runtime=options.runtime, threads=options.threads, min_score=options.min_score)


def _needed(model: Path | None, kind: str) -> Path:
    if model is None:
        raise ConfigurationError(
            f"the detector {kind} needs a model; set tracking.detector_model to its file or folder, or use person-nano"
        )
    return model
