"""What one batch costs on this device, measured: seconds, and bytes that are kept for the way back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reid_models.encoder import ImageFeatures
from reid_models.extraction import autocast
from reid_models.loader import LoaderConfig, prepare
from reid_models.recipes.towers import Towers

REPETITIONS = 3  # the first one warms up and does not count
FEW = 4  # images of a first batch: a whole one of a large tower would take minutes on a CPU
SOON_S = 1.0  # a whole batch is measured if it should take no longer
SENTENCES = 16


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one image or one sentence. A step is forwards and backwards, a pass forwards alone."""

    image_step_s: float
    image_pass_s: float
    image_preparation_s: float  # resizing and augmentation, done beside the steps
    image_bytes: float  # kept between forwards and backwards
    prompt_step_s: float  # a sentence of learnable words
    sentence_step_s: float
    sentence_pass_s: float
    sentence_bytes: float


def measure_costs(towers: Towers, loader: LoaderConfig, batch: int, device: torch.device, precision: str) -> Costs:
    """Three batches of `batch` images each, or of a few where those would take long: costs then count as proportional
    to their number.
    """
    costs = _measure(towers, loader, min(batch, FEW), device, precision)
    is_soon = costs.image_step_s * batch <= SOON_S
    return _measure(towers, loader, batch, device, precision) if is_soon else costs


def _measure(towers: Towers, loader: LoaderConfig, images: int, device: torch.device, precision: str) -> Costs:
    encoder = towers.encoder
    height, width = loader.sizes[-1][1]
    pixels = np.random.default_rng(0).integers(0, 256, (images, height, width, 3), dtype=np.uint8)
    prepared = prepare(pixels, (height, width), loader.augment, torch.Generator().manual_seed(0)).to(device)
    token_ids = towers.tokenize(["a person in a coat"] * SENTENCES).to(device)
    words = encoder.token_embedding(token_ids[:, :12]).detach().requires_grad_()
    ends = torch.full((SENTENCES,), 11, device=device)

    def image_pass() -> Tensor:
        features: ImageFeatures = encoder(prepared, encoder.unknown_cameras(prepared))
        return features.appearance.float().sum() + features.language.float().sum()

    def sentence_pass() -> Tensor:
        return encoder.embed_tokens(token_ids).float().sum()

    def prompt_pass() -> Tensor:
        return encoder.embed_prompts(words, ends).float().sum()

    def prepare_batch() -> None:
        prepare(pixels, (height, width), loader.augment, torch.Generator().manual_seed(0))

    def timed(work: Callable[[], object]) -> float:
        return _seconds(work, device)

    encoder.train()
    with autocast(device, precision):
        image_bytes, sentence_bytes = kept_bytes(encoder, image_pass), kept_bytes(encoder, sentence_pass)
        costs = Costs(
            image_step_s=timed(lambda: _step(image_pass)) / images,
            image_pass_s=timed(lambda: _without_gradient(image_pass)) / images,
            image_preparation_s=timed(prepare_batch) / images,
            image_bytes=image_bytes / images,
            prompt_step_s=timed(lambda: _step(prompt_pass)) / SENTENCES,
            sentence_step_s=timed(lambda: _step(sentence_pass)) / SENTENCES,
            sentence_pass_s=timed(lambda: _without_gradient(sentence_pass)) / SENTENCES,
            sentence_bytes=sentence_bytes / SENTENCES,
        )
    encoder.zero_grad(set_to_none=True)
    return costs


def _step(forwards: Callable[[], Tensor]) -> None:
    total = forwards()
    if total.requires_grad:
        total.backward()


@torch.no_grad()
def _without_gradient(forwards: Callable[[], Tensor]) -> Tensor:
    return forwards()


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """The fastest of the repetitions behind the first: others may be using this machine."""
    found = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - began)
    return min(found[1:])


def kept_bytes(module: nn.Module, forwards: Callable[[], Tensor]) -> int:
    """Storage that autograd holds on to until the way back, weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept: dict[int, int] = {}

    def hold(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def give_back(tensor: Any) -> Any:
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hold, give_back):
        total = forwards()
    found = sum(kept.values())
    del total
    return found
