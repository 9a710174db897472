"""A detector in int8: its network rewritten with activation ranges from pictures, beside the exact one in its folder.

The first convolution, which sees the pixels, and the last ones, which give boxes and scores, stay as they are. Whether
int8 runs is decided on every machine by the trial (`detector_trial.py`): it has to find the same boxes, and has to be
faster.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.adapters.detector_bundle import MODEL, DetectorManifest, add_int8, verified_detector
from pipeline.camera.yolo import InputFormat, letterbox
from pipeline.contracts import F32, Image
from pipeline.errors import ConfigurationError
from pipeline.runtimes.quantising import rewrite_in_int8

LEAST_PICTURES = 16


def quantise_detector(folder: Path, pictures: Sequence[Image]) -> DetectorManifest:
    """Add an int8 network to a detector's folder, calibrated on `pictures` as its cameras give them, with people.

    Returns the manifest, which names it. Raises `ConfigurationError` for too few pictures or a network without
    convolutions in a row.
    """
    manifest = verified_detector(folder)
    if len(pictures) < LEAST_PICTURES:
        raise ConfigurationError(
            f"{len(pictures)} pictures are too few to calibrate int8; expected {LEAST_PICTURES} or more: "
            "give a video of the cameras, or a folder of pictures"
        )
    network = folder / MODEL
    inner = inner_convolutions(network)
    if not inner:
        raise ConfigurationError(f"{network} has no convolutions in a row; there is nothing to compute in int8")
    with tempfile.TemporaryDirectory(prefix="sightline-int8-") as scratch:
        made = Path(scratch) / MODEL
        rewrite_in_int8(network, made, inner, _batches(_input_of(network), manifest.input, pictures))
        return add_int8(folder, made.read_bytes())


def inner_convolutions(network: Path) -> list[str]:
    """Names of the convolutions between the first and the last of each way through the network."""
    import onnx

    nodes = list(onnx.load(str(network)).graph.node)
    leads_on: set[str] = set()  # tensors from which another convolution is reached
    inner: list[str] = []
    for node in reversed(nodes):  # ONNX keeps them in the order of computing
        if any(name in leads_on for name in node.output):
            if node.op_type == "Conv":
                inner.append(node.name)
            leads_on.update(node.input)
        elif node.op_type == "Conv":
            leads_on.update(node.input)
    first = next((node.name for node in nodes if node.op_type == "Conv"), None)
    return [name for name in reversed(inner) if name != first]


def _input_of(network: Path) -> tuple[str, int]:
    """The name of the input, and how many pictures it takes at once (1 where that is open)."""
    import onnx

    entry: Any = onnx.load(str(network)).graph.input[0]
    return str(entry.name), int(entry.type.tensor_type.shape.dim[0].dim_value) or 1


def _batches(entry: tuple[str, int], wanted: InputFormat, pictures: Sequence[Image]) -> Iterator[dict[str, F32]]:
    name, size = entry
    for picture in pictures:
        planes = np.empty((1, 3, wanted.height_px, wanted.width_px), np.float32)
        letterbox(picture, wanted, planes[0])
        yield {name: np.repeat(planes, size, axis=0)}
