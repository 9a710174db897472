"""OpenVINO on the CPU: float32, real bfloat16, and int8 where the file itself says so (QDQ)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.contracts import F32
from pipeline.errors import ConfigurationError
from pipeline.runtimes.machine import processor_precisions
from pipeline.runtimes.runtime import Batch, Precision, RuntimeOptions, filled, first_rows


class OpenVinoRuntime:
    """A `Runtime` over an ONNX file, compiled once for full batches and once for all others.

    A batch size known beforehand gives a sixth to a quarter more crops per second.
    """

    name = "openvino"

    def __init__(self, network: Path, options: RuntimeOptions) -> None:
        import openvino

        if options.device != "cpu":
            raise ConfigurationError(f"openvino is for CPUs here, and the device is {options.device!r}; use torch")
        core = openvino.Core()
        model = core.read_model(network)
        settings = {
            "INFERENCE_NUM_THREADS": options.threads,
            "NUM_STREAMS": 1,
            # Its default would be bfloat16 where the processor has it, and then results depend on the machine.
            "INFERENCE_PRECISION_HINT": _arithmetic(options.precision),
        }
        shape = model.input(0).partial_shape
        self.precision: Precision = options.precision
        self.input_shape = tuple(size.get_length() if size.is_static else None for size in shape)
        self._full = options.full_batch if self.input_shape[0] is None else 0
        self._any: Any = core.compile_model(model, "CPU", settings)
        self._fixed: Any = None
        if self._full:
            shape[0] = self._full
            model.reshape(shape)
            self._fixed = core.compile_model(model, "CPU", settings)

    def run(self, batch: Batch) -> tuple[F32, ...]:
        rows = filled(batch, self._full)
        compiled = self._fixed if len(rows) == self._full else self._any
        return first_rows(compiled(rows).to_tuple(), len(batch))


def _arithmetic(precision: Precision) -> str:
    """The hint; an int8 file says itself what is int8, and the hint holds for the rest."""
    if precision == "int8":
        return "bf16" if "bf16" in processor_precisions() else "f32"
    return {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}[precision]
