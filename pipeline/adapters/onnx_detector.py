"""Persons by an ONNX network of the YOLO family, on the fastest runtime of this machine that finds the same boxes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.adapters.detector_bundle import INT8_MODEL, MODEL, DetectorManifest, detector_digest, verified_detector
from pipeline.adapters.detector_inspection import hints_of, inspect
from pipeline.camera.yolo import Reading, letterbox, read_persons
from pipeline.contracts import F32, Detections, Frame
from pipeline.errors import ConfigurationError
from pipeline.runtimes.networks import open_network
from pipeline.runtimes.runtime import Device, Precision, Runtime, RuntimeOptions

log = logging.getLogger(__name__)

RuntimeOfDetectors = Literal["onnxruntime", "openvino"]


@dataclass(frozen=True, slots=True)
class OnnxDetectorConfig:
    """How an ONNX network is run and read."""

    runtime: RuntimeOfDetectors | Literal["auto"] = "auto"  # auto: by a short trial, see `detector_trial.py`
    threads: int = 1  # of the CPU; a worker shares the machine with others
    precision: Precision = "fp32"  # of a runtime that is named; auto chooses it too
    min_score: float | None = None  # default: the bundle's own, else 0.1
    max_overlap: float = 0.65  # of two persons who stand behind one another
    usual_frames: int = 1  # that go through a CPU together; on CUDA all that are there do


class OnnxDetector:
    """One network for all cameras of a worker; frames go through it together where that is faster.

    `model` is the folder of a bundle or a bare `.onnx` file, whose layout is found out. Raises `ConfigurationError` for
    one that is missing, unreadable or of another layout.
    """

    def __init__(self, model: Path, config: OnnxDetectorConfig | None = None) -> None:
        self.model, self.config = model, config or OnnxDetectorConfig()
        config = self.config
        network, known = find_network(model)
        if config.runtime == "auto":
            from pipeline.adapters.detector_trial import fastest

            runtime, precision = fastest(model, config)
        else:
            runtime, precision = config.runtime, config.precision
        if precision == "int8":
            network = _in_int8(model, known)
        device = _device(runtime)
        options = RuntimeOptions(precision, device, config.threads, config.usual_frames)
        self._runtime = open_network(runtime, network, options)
        self.manifest = known or _inspected(network, self._runtime)
        self._input = self.manifest.input
        self._fixed_batch = self._runtime.input_shape[0]
        # A CPU gains nothing by batches, and a shape that is known beforehand is up to 1.5 times as fast as an open one
        # (person-nano in int8 on one core: 7.5 ms for one frame, 42 for four together, 27 with four known beforehand).
        self._step = self._fixed_batch or (None if device == "cuda" else config.usual_frames)
        self._reading = Reading(
            self.manifest.layout,
            (self._input.width_px, self._input.height_px),
            config.min_score or self.manifest.min_score,
            config.max_overlap,
            self.manifest.person_class,
        )
        self._planes: F32 = np.empty((0, 3, self._input.height_px, self._input.width_px), np.float32)
        self.runtime = f"{self._runtime.name} {self._runtime.precision}"

    @property
    def name(self) -> str:
        return f"onnx:{self.manifest.name}"

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One `Detections` per frame, in order, scores at least `min_score`."""
        step = self._step or max(len(frames), 1)
        return [
            persons
            for start in range(0, len(frames), step)
            for persons in self._detect_together(frames[start : start + step])
        ]

    def _detect_together(self, frames: Sequence[Frame]) -> list[Detections]:
        # A network of fixed batch size computes what was left in the other places once more.
        planes = self._room(self._fixed_batch or len(frames))
        fits = [letterbox(frame.image, self._input, place) for frame, place in zip(frames, planes, strict=False)]
        outputs = self._runtime.run(planes)[0]
        return [read_persons(output, self._reading, fit) for output, fit in zip(outputs, fits, strict=False)]

    def _room(self, frames: int) -> F32:
        """The input of so many frames; always the same memory, because fresh pages cost as much as filling them."""
        if len(self._planes) < frames:
            self._planes = np.zeros((frames, *self._planes.shape[1:]), np.float32)
        return self._planes[:frames]


def find_network(model: Path) -> tuple[Path, DetectorManifest | None]:
    """The ONNX file, and its description where `model` is the folder of a bundle. Raises `ConfigurationError`."""
    if not model.exists():
        raise ConfigurationError(f"there is no model {model}; expected an .onnx file or a detector's folder")
    return (model / MODEL, verified_detector(model)) if model.is_dir() else (model, None)


def _in_int8(model: Path, known: DetectorManifest | None) -> Path:
    if known is None or known.int8_digest is None:
        raise ConfigurationError(
            f"{model} has no network in int8; make one with `sightline import-detector {model} --calibrate PICTURES`, "
            "or use another precision"
        )
    return model / INT8_MODEL


def _inspected(network: Path, opened: Runtime) -> DetectorManifest:
    found = inspect(opened, hints_of(network))
    return found.model_copy(update={"digest": detector_digest(network.read_bytes(), found)})


def _device(runtime: str) -> Device:
    if runtime != "onnxruntime":
        return "cpu"
    import onnxruntime

    return "cuda" if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else "cpu"
