"""An ONNX network in int8: activation ranges from crops, and the network rewritten with them.

Post-training quantisation by ONNX Runtime: static, weights by channel, Q and DQ nodes around what is quantised, which
ONNX Runtime and OpenVINO both compute in integers. Only convolutions and matrix products with constant weights are
quantised, and of these not the first, which sees the pixels, nor the last, which gives the language vector: with
them (and with the additions of shortcuts) the worst crop fell from cosine 0.997 to 0.98 and below at the same speed.
NNCF was tried for OpenVINO and gave 0.77 on the same crops.
"""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigurationError
from reid_models.serving.artefacts import PIXELS, Artefacts, Ranges, made_whole
from reid_models.serving.pixels import U8

LEAST_CROPS = 32
_CROPS_PER_PASS = 16
_WEIGHTED = ("Conv", "MatMul", "Gemm")


def quantise_if_missing(artefacts: Artefacts) -> None:
    """Make the int8 network from the exported one. Raises `ConfigurationError` without ranges that fit."""
    path, ranges = artefacts.network_in("int8"), artefacts.ranges()
    if path.is_file() or ranges is None:
        return
    try:
        with tempfile.TemporaryDirectory(prefix="sightline-int8-") as folder:
            activations = Path(folder) / "ranges.json"
            activations.write_text(json.dumps(ranges.activations), encoding="utf-8")
            made_whole(path, lambda place: _rewrite(artefacts.network, place, activations))
    except (ValueError, KeyError) as error:  # how the quantiser reports ranges of another form
        raise ConfigurationError(
            f"the int8 ranges of {artefacts.bundle} do not fit its network ({error}); "
            "make them anew with `sightline models quantise`"
        ) from error


def measure_ranges(artefacts: Artefacts, crops: U8) -> Ranges:
    """How far each activation of the exported network reaches over `crops` (N, H, W, 3) of its input size.

    Raises `ConfigurationError` for fewer than `LEAST_CROPS`.
    """
    if len(crops) < LEAST_CROPS:
        raise ConfigurationError(
            f"{len(crops)} crops are too few to calibrate int8; expected at least {LEAST_CROPS}: "
            "give a folder of crops, or wait until the archive holds more tracklets"
        )
    with tempfile.TemporaryDirectory(prefix="sightline-int8-") as folder:
        activations = Path(folder) / "ranges.json"
        _rewrite(artefacts.network, Path(folder) / "unused.onnx", activations, crops)
        return Ranges(digest=artefacts.digest, crops=len(crops), activations=json.loads(activations.read_bytes()))


def write_ranges(path: Path, ranges: Ranges) -> None:
    made_whole(path, lambda place: place.write_text(ranges.model_dump_json() + "\n", encoding="utf-8"))


def _rewrite(network: Path, path: Path, activations: Path, crops: U8 | None = None) -> None:
    """Quantise with the ranges of the file `activations`, or with those of `crops`, which are then written there."""
    from onnxruntime import quantization

    class Crops(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, batches: Iterator[U8]) -> None:
            self._batches = batches

        def get_next(self) -> dict[str, U8] | None:
            batch = next(self._batches, None)
            return None if batch is None else {PIXELS: batch}

    with _quiet():
        quantization.quantize_static(
            str(network),
            str(path),
            None if crops is None else Crops(_passes(crops)),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(_WEIGHTED),
            nodes_to_quantize=quantised_nodes(network),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            calibration_cache_path=activations,
        )


def quantised_nodes(network: Path) -> list[str]:
    """Names of the convolutions and matrix products with constant weights, but for the first and the last."""
    import onnx

    graph = onnx.load(network).graph
    constants = {tensor.name for tensor in graph.initializer}
    weighted = [node.name for node in graph.node if node.op_type in _WEIGHTED and node.input[1] in constants]
    return weighted[1:-1]


def _passes(crops: U8) -> Iterator[U8]:
    # Whole passes only: the quantiser stacks what they give.
    whole = len(crops) - len(crops) % _CROPS_PER_PASS
    return iter(np.split(crops[:whole], whole // _CROPS_PER_PASS))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises by the root logger to preprocess, which exporting has done (norms are folded)."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
