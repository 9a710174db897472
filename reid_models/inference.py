"""A bundle at work on torch in this process: the laboratory's way, and the answer to sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from pipeline.errors import ConfigurationError
from pipeline.runtimes.machine import processor_precisions
from pipeline.runtimes.runtime import Precision, RuntimeOptions
from reid_models.bundle import Bundle, load_bundle
from reid_models.imported import import_open_clip
from reid_models.manifest import DEFAULT_BUNDLE, bundle_folder
from reid_models.serving.encoder import LARGEST_BATCH, ServedEncoder
from reid_models.serving.torch_runtime import TORCH_TYPES, TextTower, TorchRuntime

Device = Literal["auto", "cpu", "cuda"]


class BundleEncoder(ServedEncoder):
    """Both towers of a bundle on torch.

    The image tower computes in `precision`; the text tower, which is small, always in float32.
    """

    def __init__(self, bundle: Bundle, device: torch.device, precision: torch.dtype) -> None:
        options = RuntimeOptions(
            _name_of(precision), "cuda" if device.type == "cuda" else "cpu", torch.get_num_threads(), LARGEST_BATCH
        )
        super().__init__(bundle.manifest, TorchRuntime(bundle, options), lambda: TextTower(bundle, device))


def load_encoder(
    source: str | Path = DEFAULT_BUNDLE, device: Device = "auto", threads: int | None = None
) -> BundleEncoder:
    """An encoder from a bundle folder, the name of a shipped bundle, or an open_clip model (see `imported.py`).

    `threads` limits the CPU threads of the whole process. Raises `ConfigurationError` with the remedy.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    place = chosen_device(device)
    return BundleEncoder(find_bundle(source), place, chosen_precision(place))


def find_bundle(source: str | Path) -> Bundle:
    """The bundle that `source` names."""
    folder = bundle_folder(source)
    return import_open_clip(str(source)) if folder is None else load_bundle(folder)


def chosen_device(device: Device) -> torch.device:
    """`auto` takes CUDA when there is one."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("device is 'cuda', but torch finds no CUDA device; use 'auto' or 'cpu'")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def chosen_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies in it; elsewhere it would be emulated and slow."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if "bf16" in processor_precisions() else torch.float32


def _name_of(precision: torch.dtype) -> Precision:
    return next(name for name, of_torch in TORCH_TYPES.items() if of_torch is precision)
