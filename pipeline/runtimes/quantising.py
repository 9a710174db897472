"""An ONNX network rewritten in int8 by ONNX Runtime, after its training.

Static, weights by channel, Q and DQ nodes around what is quantised, which ONNX Runtime and OpenVINO both compute in
integers.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.runtimes.runtime import Batch

WEIGHTED = ("Conv", "MatMul", "Gemm")  # what integers are worth it for


def rewrite_in_int8(
    network: Path,
    made: Path,
    nodes: Sequence[str],
    batches: Iterator[Mapping[str, Batch]] | None,
    ranges: Path | None = None,
) -> None:
    """Write `made`: `network` with the named nodes, which are `WEIGHTED` ones, in int8.

    How far activations reach is measured on `batches`, by name of the input; it is kept in the file `ranges`, if one is
    named, and read from there where `batches` is None.
    """
    from onnxruntime import quantization

    class Batches(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Mapping[str, Batch] | None:
            return None if batches is None else next(batches, None)

    with _quiet():
        quantization.quantize_static(
            str(network),
            str(made),
            None if batches is None else Batches(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(WEIGHTED),
            nodes_to_quantize=list(nodes),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            calibration_cache_path=ranges,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises by the root logger to preprocess; exporters have folded the norms already."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
