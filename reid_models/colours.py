"""Random changes of colour. Each is one matrix for each image, so that all together cost one pass over the pixels."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from reid_models.draws import chosen_places, uniform

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: how bright red, green and blue look


def grayscale(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Replace some images (B, 3, H, W) by their brightness."""
    if probability == 0.0:
        return images
    chosen = chosen_places(images, probability, generator)
    luma = torch.tensor(LUMA, device=images.device).view(3, 1, 1)
    pixels = images[chosen]
    return images.index_copy(0, chosen, (pixels * luma).sum(dim=1, keepdim=True).expand_as(pixels))


def colour_jitter(
    images: Tensor, probability: float, strengths: tuple[float, float, float, float], generator: Generator
) -> Tensor:
    """Change brightness, contrast, saturation and hue of some images with values 0 to 255.

    Each of the first three changes by a factor in 1 ± its strength, the hue by up to its strength as a share of the
    circle, in this order and rounded to the range once at the end. Hue turns around the axis of greys at equal
    brightness (a rotation in YIQ), which differs from HSV's hue for saturated colours by little and is linear.
    """
    if probability == 0.0:
        return images
    chosen = chosen_places(images, probability, generator)
    offsets = 2.0 * uniform((4, len(chosen)), generator, images) - 1.0
    offsets = offsets * torch.tensor(strengths, device=images.device)[:, None]
    brightness, contrast, saturation = 1.0 + offsets[:3]
    pixels = images[chosen]
    matrix = _hue_rotation(offsets[3]) @ _saturation(saturation)
    mean = (pixels.mean(dim=(2, 3)) * torch.tensor(LUMA, device=images.device)).sum(dim=1)  # (b,) of grey
    scaled = (brightness * contrast)[:, None, None] * matrix
    lift = ((1.0 - contrast) * brightness * mean)[:, None, None, None]  # grey: neither saturation nor hue changes it
    changed = torch.einsum("bij,bjhw->bihw", scaled, pixels) + lift
    return images.index_copy(0, chosen, changed.clamp_(0.0, 255.0))


def _saturation(factor: Tensor) -> Tensor:
    """(B,) → (B, 3, 3): mixes each colour with its own brightness."""
    luma = torch.tensor(LUMA, device=factor.device).expand(3, 3)
    identity = torch.eye(3, device=factor.device)
    return luma + factor[:, None, None] * (identity - luma)


def _hue_rotation(share: Tensor) -> Tensor:
    """(B,) shares of the circle → (B, 3, 3)."""
    to_yiq = torch.tensor([LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)], device=share.device)
    angle = 2.0 * math.pi * share
    turn = torch.zeros(len(share), 3, 3, device=share.device)
    turn[:, 0, 0] = 1.0
    turn[:, 1, 1] = turn[:, 2, 2] = angle.cos()
    turn[:, 1, 2], turn[:, 2, 1] = -angle.sin(), angle.sin()
    rotation: Tensor = torch.linalg.inv(to_yiq) @ turn @ to_yiq
    return rotation
