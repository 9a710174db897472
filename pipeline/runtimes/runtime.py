"""The seam under every network that we run: a batch in, arrays out, whatever computes in between.

| runtime | runs | where |
|---|---|---|
| `onnxruntime` | ONNX files | `onnx_runtime.py`; in the base |
| `openvino` | ONNX files | `openvino_runtime.py`; extra `openvino`, the fastest on CPUs |
| `torch`, `torch-compiled`, `cuda-graphs` | an encoder's own module | `reid_models/serving/torch_runtime.py` |
| TensorRT | ONNX files | a free slot: write its `Runtime`, give it a name here and a line in `networks.py` |

Two runtimes in one process rob each other of the cores: on two cores a network was measured at a tenth of its speed.
Therefore a process opens networks of one runtime only, and candidates are compared in a process each (`trial.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.contracts import F32

Precision = Literal["fp32", "bf16", "fp16", "int8"]
Device = Literal["cpu", "cuda"]
RuntimeName = Literal["torch", "torch-compiled", "cuda-graphs", "onnxruntime", "openvino"]

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16", "int8")  # the most exact first
Batch = npt.NDArray[Any]


class Runtime(Protocol):
    """One loaded network: `OnnxRuntime`, `OpenVinoRuntime`, `TorchRuntime`; arithmetic in tests."""

    @property
    def name(self) -> str: ...

    @property
    def precision(self) -> Precision: ...

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Of the one input; None where the network leaves a size open."""

    def run(self, batch: Batch) -> tuple[F32, ...]:
        """All outputs for a batch of the network's own input type. Fails in the runtime's own classes."""


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How a network is loaded.

    `full_batch` is the size that most batches have, 0 for none: shapes known beforehand compute faster.
    """

    precision: Precision = "fp32"
    device: Device = "cpu"
    threads: int = 1  # of the CPU
    full_batch: int = 0


def filled(batch: Batch, full: int) -> Batch:
    """A batch that is nearly full (three quarters and more), filled up with its last row; any other as it is.

    A runtime is faster on the one shape that it knows beforehand by more than a quarter of rows cost.
    """
    missing = full - len(batch)
    if missing <= 0 or 4 * len(batch) < 3 * full:
        return batch
    return np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])


def first_rows(outputs: Sequence[npt.NDArray[Any]], count: int) -> tuple[F32, ...]:
    """The outputs of `filled` without what was filled in, as float32 that nobody writes to again."""
    return tuple(np.array(output[:count], np.float32) for output in outputs)
