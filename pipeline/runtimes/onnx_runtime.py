"""ONNX Runtime: everywhere, on CPUs and CUDA; int8 where the file itself says so (QDQ)."""

from __future__ import annotations

from pathlib import Path

from pipeline.contracts import F32
from pipeline.errors import ConfigurationError
from pipeline.runtimes.runtime import Batch, Precision, RuntimeOptions, first_rows

_QUIET = 3  # only errors


class OnnxRuntime:
    """A `Runtime` over an ONNX file. Its arithmetic is the file's: float32, or int8 between Q and DQ nodes."""

    name = "onnxruntime"

    def __init__(self, network: Path, options: RuntimeOptions) -> None:
        import onnxruntime

        if options.precision not in ("fp32", "int8"):
            raise ConfigurationError(
                f"onnxruntime computes in the precision of the file, and {options.precision} is asked for; "
                "use fp32, int8 with a quantised file, or openvino"
            )
        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = options.threads
        session_options.inter_op_num_threads = 1
        session_options.log_severity_level = _QUIET
        provider = "CUDAExecutionProvider" if options.device == "cuda" else "CPUExecutionProvider"
        if provider not in onnxruntime.get_available_providers():
            raise ConfigurationError(f"this build of onnxruntime has no {provider}; install onnxruntime-gpu")
        self.precision: Precision = options.precision
        self._session = onnxruntime.InferenceSession(str(network), session_options, providers=[provider])
        entry = self._session.get_inputs()[0]
        self._input = entry.name
        self.input_shape = tuple(size if isinstance(size, int) else None for size in entry.shape)

    def run(self, batch: Batch) -> tuple[F32, ...]:
        return first_rows(self._session.run(None, {self._input: batch}), len(batch))
