"""Random changes to training images; all on a batch of tensors at once, so that loading never limits training.

A batch is (B, 3, H, W) float32 with values 0 to 255. Randomness comes from the generator that is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How strong each change is; 0 switches one off."""

    flip_probability: float = 0.5
    pad_share: float = 0.06  # of the height: how far the image may be shifted
    jitter_strength: float = 0.2  # brightness and contrast change by up to this factor; hue stays, colours have names
    blur_probability: float = 0.2
    smallest_scale: float = 0.35  # a far camera: down to this size and up again
    erase_probability: float = 0.5
    erase_area: tuple[float, float] = (0.02, 0.3)


def augment(images: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """All changes in order; the size stays."""
    images = flip(images, config.flip_probability, generator)
    images = shift(images, round(config.pad_share * images.shape[2]), generator)
    images = jitter(images, config.jitter_strength, generator)
    images = blur_by_downscaling(images, config.blur_probability, config.smallest_scale, generator)
    return erase(images, config.erase_probability, config.erase_area, generator)


def flip(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Mirror left and right."""
    mirrored = _chosen(len(images), probability, generator)
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def shift(images: Tensor, pad_px: int, generator: Generator) -> Tensor:
    """Pad with grey by `pad_px` on each side and cut the old size at a random place."""
    if pad_px == 0:
        return images
    height, width = images.shape[2:]
    padded = functional.pad(images, (pad_px,) * 4, value=127.5)
    corners = torch.randint(0, 2 * pad_px + 1, (len(images), 2), generator=generator).tolist()
    return torch.stack([image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, corners, strict=True)])


def jitter(images: Tensor, strength: float, generator: Generator) -> Tensor:
    """Change brightness and contrast of each image by a factor in 1 ± `strength`."""
    factors = 1.0 + strength * (2.0 * torch.rand(2, len(images), 1, 1, 1, generator=generator) - 1.0)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (((images - mean) * factors[0] + mean) * factors[1]).clamp(0.0, 255.0)


def blur_by_downscaling(images: Tensor, probability: float, smallest_scale: float, generator: Generator) -> Tensor:
    """Scale some images down and up again, as if the person had stood far from the camera. One scale per batch."""
    chosen = _chosen(len(images), probability, generator)
    if not chosen.any():
        return images
    scale = smallest_scale + (1.0 - smallest_scale) * torch.rand((), generator=generator).item()
    size = [max(1, round(scale * side)) for side in images.shape[2:]]
    small = functional.interpolate(images[chosen], size=size, mode="area")
    blurred = images.clone()
    blurred[chosen] = functional.interpolate(small, size=images.shape[2:], mode="bilinear", align_corners=False)
    return blurred


def erase(images: Tensor, probability: float, area: tuple[float, float], generator: Generator) -> Tensor:
    """Random erasing (Zhong et al. 2020): fill one rectangle of some images with one random colour.

    `area` bounds the rectangle's share of the image; its height-to-width ratio lies between 0.3 and 3.3, log-uniform.
    """
    height, width = images.shape[2:]
    erased = images.clone()
    for index in _chosen(len(images), probability, generator).nonzero().flatten().tolist():
        draw = torch.rand(7, generator=generator).tolist()
        pixels = (area[0] + (area[1] - area[0]) * draw[0]) * height * width
        aspect = 0.3 * (3.3 / 0.3) ** draw[1]
        box_height = min(height, max(1, round((pixels * aspect) ** 0.5)))
        box_width = min(width, max(1, round((pixels / aspect) ** 0.5)))
        top = int(draw[2] * (height - box_height + 1))
        left = int(draw[3] * (width - box_width + 1))
        colour = torch.tensor(draw[4:])[:, None, None] * 255.0
        erased[index, :, top : top + box_height, left : left + box_width] = colour
    return erased


def _chosen(count: int, probability: float, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator) < probability
