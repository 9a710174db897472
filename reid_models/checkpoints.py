"""The state of a run on disk: one safetensors file, replaced as a whole, that says what it is a checkpoint of."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipeline.errors import ConfigurationError

FORMAT = 1
CHECKPOINT = "checkpoint.safetensors"
HEADER = "sightline"
MODULES, OPTIMISERS = "modules/", "optimisers/"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A run after `epochs_done` epochs of all its stages together."""

    epochs_done: int
    configuration: dict[str, Any]  # JSON values only
    data_digest: str
    metrics: dict[str, float]
    epochs_used: dict[str, int]  # of each optimiser
    modules: dict[str, Tensor]
    optimisers: dict[str, dict[str, Tensor]]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write beside, sync, rename: a kill leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"{MODULES}{name}": tensor for name, tensor in checkpoint.modules.items()}
    for optimiser, state in checkpoint.optimisers.items():
        tensors |= {f"{OPTIMISERS}{optimiser}/{name}": tensor for name, tensor in state.items()}
    header = {
        "format": FORMAT,
        "epochs_done": checkpoint.epochs_done,
        "configuration": checkpoint.configuration,
        "data_digest": checkpoint.data_digest,
        "metrics": checkpoint.metrics,
        "epochs_used": checkpoint.epochs_used,
    }
    unfinished = path.with_suffix(".unfinished")
    # safetensors refuses tensors that share memory, which tied weights do, and keeps no memory layout.
    save_file(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
        unfinished,
        metadata={HEADER: json.dumps(header)},
    )
    descriptor = os.open(unfinished, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    unfinished.replace(path)


def load_checkpoint(path: Path, wanted: Checkpoint) -> Checkpoint:
    """Raises `ConfigurationError` if the file is damaged or of another configuration, data set or model."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} is no readable checkpoint ({error}); delete it to start anew") from error
    if header.get("format") != FORMAT:
        raise ConfigurationError(
            f"{path} has format {header.get('format')!r}, expected {FORMAT}; it is no checkpoint of this release: "
            "delete it to start anew"
        )
    _compare(path, header, wanted)
    optimisers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(OPTIMISERS):
            optimiser, key = name.removeprefix(OPTIMISERS).split("/", 1)
            optimisers.setdefault(optimiser, {})[key] = tensor
    modules = {name.removeprefix(MODULES): tensor for name, tensor in tensors.items() if name.startswith(MODULES)}
    _compare_shapes(path, modules, wanted.modules)
    return Checkpoint(
        header["epochs_done"], header["configuration"], header["data_digest"], header["metrics"],
        header["epochs_used"], modules, optimisers,
    )  # fmt: skip


def _compare(path: Path, header: dict[str, Any], wanted: Checkpoint) -> None:
    # Through JSON and back, so that tuples and lists compare equal.
    expected = json.loads(json.dumps(wanted.configuration))
    found = header["configuration"]
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            raise ConfigurationError(
                f"{path} is a checkpoint of another configuration: {key} is {found.get(key)!r} there and "
                f"{expected.get(key)!r} here; train into another folder, or delete the file to start anew"
            )
    if header["data_digest"] != wanted.data_digest:
        raise ConfigurationError(
            f"{path} was trained on data with digest {header['data_digest']!r}, here it is {wanted.data_digest!r}; "
            "train into another folder, or delete the file to start anew"
        )


def _compare_shapes(path: Path, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    for name in sorted(found.keys() | wanted.keys()):
        there = tuple(found[name].shape) if name in found else None
        here = tuple(wanted[name].shape) if name in wanted else None
        if there != here:
            raise ConfigurationError(
                f"{path} is a checkpoint of another model: {name} has shape {there} there and {here} here; train into "
                "another folder, or delete the file to start anew"
            )
