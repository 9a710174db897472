"""Random numbers for a batch of images, drawn on the generator's device and handed over on the images'."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def uniform(shape: tuple[int, ...], generator: Generator, images: Tensor) -> Tensor:
    """Numbers from 0 to 1."""
    return torch.rand(shape, generator=generator, device=generator.device).to(images.device)


def chosen_places(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """The places of those images that a change is meant for: each with that probability."""
    return (uniform((len(images),), generator, images) < probability).nonzero().flatten()
