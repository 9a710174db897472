"""AugMix (Hendrycks et al. 2020) on a batch: mixtures of chains of mild changes, mixed with the original."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from reid_models.draws import chosen_places, uniform

GEOMETRIC = 5  # operations 0 to 4: turn, shear in x, in y, move in x, in y
ROTATION, SHEAR, SHIFT_SHARE = 30.0, 0.3, 1.0 / 3.0  # at level 10: degrees, ratio, share of the side


@dataclass(frozen=True, slots=True)
class AugMixConfig:
    """`width` chains of `depth` operations each; `severity` (1 to 10) bounds the level of each operation."""

    probability: float = 0.0
    width: int = 3
    depth: int = 1
    severity: int = 1


def augmix(images: Tensor, config: AugMixConfig, generator: Generator) -> Tensor:
    """(B, 3, H, W) values 0 to 255 → the same with some images mixed.

    Weights of the chains are Dirichlet(1), the share of the mixture is Beta(1, 1); operations are the paper's nine.
    """
    if config.probability == 0.0:
        return images
    chosen = chosen_places(images, config.probability, generator)
    originals = images[chosen]
    # Exponential draws divided by their sum are Dirichlet(1, ..., 1).
    weights = -uniform((config.width, len(chosen)), generator, images).clamp(min=1e-9).log()
    weights = weights / weights.sum(dim=0)
    mixture = torch.zeros_like(originals)
    for weight in weights:
        chain = originals
        for _ in range(config.depth):
            chain = _change(chain, config.severity, generator)
        mixture += weight[:, None, None, None] * chain
    share = uniform((len(chosen), 1, 1, 1), generator, images)
    return images.index_copy(0, chosen, torch.lerp(originals, mixture, share))


def _change(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """One random operation on each image."""
    operation_draw, level, sign = uniform((3, len(images)), generator, images)
    operation = (operation_draw * (GEOMETRIC + len(POINTWISE))).long()
    level = (0.1 + (severity - 0.1) * level) / 10.0
    changed = images.clone()
    moved = (operation < GEOMETRIC).nonzero().flatten()
    if len(moved):
        signed = torch.where(sign[moved] < 0.5, -level[moved], level[moved])
        changed[moved] = _warp(images[moved], operation[moved], signed)
    for number, change in enumerate(POINTWISE, start=GEOMETRIC):
        own = (operation == number).nonzero().flatten()
        if len(own):
            changed[own] = change(images[own], level[own])
    return changed


def _warp(images: Tensor, operation: Tensor, level: Tensor) -> Tensor:
    """Turn, shear or move each image about its centre by its signed share of the greatest change; black comes in."""
    height, width = images.shape[2:]
    strength = functional.one_hot(operation, GEOMETRIC) * level[:, None]  # (B, 5): all but one are 0
    angle = torch.deg2rad(ROTATION * strength[:, 0])
    matrix = torch.zeros(len(images), 2, 3, device=images.device)
    matrix[:, 0, 0] = matrix[:, 1, 1] = angle.cos()
    # Coordinates run from -1 to 1 along each side, so what goes from one side to the other is scaled by their ratio.
    matrix[:, 0, 1] = (SHEAR * strength[:, 1] - angle.sin()) * height / width
    matrix[:, 1, 0] = (SHEAR * strength[:, 2] + angle.sin()) * width / height
    matrix[:, :, 2] = 2.0 * SHIFT_SHARE * strength[:, 3:]
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _autocontrast(images: Tensor, _: Tensor) -> Tensor:
    """Stretch every channel to the full range."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (images - low) * 255.0 / (high - low).clamp(min=1e-6), images)


def _equalize(images: Tensor, _: Tensor) -> Tensor:
    """Make all values of a channel equally frequent."""
    values = images.round().clamp(0, 255).long().flatten(2).flatten(0, 1)  # (B * 3, H * W)
    counts = torch.zeros(len(values), 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(1, values, torch.ones_like(values))
    below = counts.cumsum(dim=1) - counts
    highest = counts.gather(1, values.amax(dim=1, keepdim=True))
    step = (values.shape[1] - highest) // 255
    table = (below + step // 2) // step.clamp(min=1)
    table = torch.where(step > 0, table.clamp(max=255), torch.arange(256, device=images.device))
    return table.gather(1, values).view(images.shape).to(images.dtype)


def _posterize(images: Tensor, level: Tensor) -> Tensor:
    """Keep the highest 4 bits of each value, fewer at higher levels."""
    step = 2.0 ** (4 + (4.0 * level).floor())[:, None, None, None]
    return (images / step).floor() * step


def _solarize(images: Tensor, level: Tensor) -> Tensor:
    """Invert the brightest values."""
    threshold = 256.0 * (1.0 - level)[:, None, None, None]
    return torch.where(images >= threshold, 255.0 - images, images)


POINTWISE: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (_autocontrast, _equalize, _posterize, _solarize)
