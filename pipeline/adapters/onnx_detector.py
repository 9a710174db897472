"""Persons by an ONNX network, YOLOX or YOLOv8/11, on onnxruntime (CPU or CUDA) or OpenVINO."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from pipeline.camera.yolo import Layout, letterbox, read_persons, recognise
from pipeline.contracts import F32, Detections, Frame
from pipeline.errors import ConfigurationError

log = logging.getLogger(__name__)

Runtime = Literal["auto", "onnxruntime", "openvino"]


@dataclass(frozen=True, slots=True)
class OnnxDetectorConfig:
    """How an ONNX network is run and read."""

    runtime: Runtime = "auto"  # auto: onnxruntime on a GPU, else OpenVINO where it is installed
    threads: int = 1  # of the CPU; a worker shares the machine with others
    min_score: float = 0.1  # low on purpose: the tracker makes use of uncertain boxes
    max_overlap: float = 0.65  # of two persons who stand behind one another
    open_size_px: tuple[int, int] = (640, 640)  # width, height where the network leaves its input size open


class _Session(Protocol):
    """A loaded network. `input_shape` is (B, 3, H, W) with None where the network leaves it open."""

    input_shape: tuple[int | None, ...]

    def run(self, batch: F32) -> F32: ...


class OnnxDetector:
    """One network for all cameras of a worker; frames go through it together when it takes batches.

    Raises `ConfigurationError` for a file that is missing, unreadable or of another layout.
    """

    def __init__(self, model: Path, config: OnnxDetectorConfig | None = None) -> None:
        self._config = config or OnnxDetectorConfig()
        if not model.is_file():
            raise ConfigurationError(f"there is no model file {model}; expected an .onnx file: check the path")
        session = _open_session(model, self._config)
        shape = session.input_shape
        if len(shape) != 4 or shape[1] != 3:
            raise ConfigurationError(f"{model} takes input {shape}; expected (batch, 3, height, width) images")
        open_width, open_height = self._config.open_size_px
        self._size_px = (shape[3] or open_width, shape[2] or open_height)
        self._batch_limit = shape[0]
        self._session = session
        self._layout = self._recognise(model)
        self._name = f"onnx:{model.stem}"

    @property
    def name(self) -> str:
        return self._name

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One `Detections` per frame, in order, scores at least `min_score`."""
        step = self._batch_limit or max(len(frames), 1)
        found: list[Detections] = []
        for start in range(0, len(frames), step):
            fitted = [letterbox(frame.image, self._layout, self._size_px) for frame in frames[start : start + step]]
            batch = np.stack([tensor for tensor, _ in fitted])
            # A network of fixed batch size gets the last frame again as filling.
            filling = np.repeat(batch[-1:], (self._batch_limit or len(batch)) - len(batch), axis=0)
            outputs = self._session.run(np.concatenate([batch, filling]))
            found += [
                read_persons(output, self._layout, fit, self._size_px, self._config.min_score, self._config.max_overlap)
                for output, (_, fit) in zip(outputs, fitted, strict=False)
            ]
        return found

    def _recognise(self, model: Path) -> Layout:
        """Run one blank picture: some networks declare an open output shape."""
        width, height = self._size_px
        output = self._session.run(np.zeros((self._batch_limit or 1, 3, height, width), np.float32))
        try:
            return recognise(output.shape, self._size_px)
        except ConfigurationError as error:
            raise ConfigurationError(f"{model}: {error}") from error


class _OnnxRuntimeSession:
    def __init__(self, model: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        providers = [
            provider
            for provider in ("CUDAExecutionProvider", "CPUExecutionProvider")
            if provider in onnxruntime.get_available_providers()
        ]
        self._session = onnxruntime.InferenceSession(str(model), options, providers=providers)
        entry = self._session.get_inputs()[0]
        self._input = entry.name
        self.input_shape = tuple(size if isinstance(size, int) else None for size in entry.shape)

    def run(self, batch: F32) -> F32:
        return np.asarray(self._session.run(None, {self._input: batch})[0], np.float32)


class _OpenVinoSession:
    def __init__(self, model: Path, threads: int) -> None:
        import openvino

        core = openvino.Core()
        network = core.read_model(model)
        # Its default would be bfloat16 where the processor has it, and then results depend on the machine.
        settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        self._model = core.compile_model(network, "CPU", settings)
        self.input_shape = tuple(
            size.get_length() if size.is_static else None for size in network.input(0).partial_shape
        )

    def run(self, batch: F32) -> F32:
        return np.asarray(self._model(batch)[0], np.float32)


def _open_session(model: Path, config: OnnxDetectorConfig) -> _Session:
    runtime = _choose_runtime() if config.runtime == "auto" else config.runtime
    session_class = _SESSIONS[runtime]
    try:
        session: _Session = session_class(model, config.threads)
    except ImportError as error:
        raise ConfigurationError(
            f"the runtime {runtime!r} is not installed ({error}); install it with `pip install 'sightline[{runtime}]'`"
        ) from error
    except Exception as error:  # both runtimes raise classes of their own that share no parent
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ConfigurationError(
            f"{model} cannot be read by {runtime} ({reason}); expected a detector in ONNX form"
        ) from error
    log.info("opened %s with %s on %d threads", model.name, runtime, config.threads)
    return session


def _choose_runtime() -> str:
    """OpenVINO is faster on CPUs, but knows no CUDA."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return "onnxruntime"
    return "openvino" if importlib.util.find_spec("openvino") else "onnxruntime"


_SESSIONS: dict[str, type[_OnnxRuntimeSession] | type[_OpenVinoSession]] = {
    "onnxruntime": _OnnxRuntimeSession,
    "openvino": _OpenVinoSession,
}
