"""Random changes to training images; all on a batch of tensors at once, so that loading never limits training.

A batch is (B, 3, H, W) float32 with values 0 to 255, on any device. Randomness comes from the generator that is passed
in; what it draws is moved to the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional

from reid_models.augmix import AugMixConfig, augmix
from reid_models.colours import colour_jitter, grayscale
from reid_models.degradations import hide, motion_blur, rebox
from reid_models.draws import chosen_places, uniform

GREY = 127.5
ERASED_ASPECT = (0.3, 3.3)  # height to width of an erased rectangle, log-uniform

EraseFill = Literal["colour", "mean", "noise"]


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Mean and deviation of each channel, for values from 0 to 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) values 0 to 255 → zero mean, unit deviation over a typical data set."""
        mean, std = self.of_bytes(images)
        return (images - mean) / std

    def of_bytes(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation (3, 1, 1) for values from 0 to 255, beside `images`."""
        mean, std = torch.tensor([self.mean, self.std], device=images.device).view(2, 3, 1, 1) * 255.0
        return mean, std


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NormalisationName = Literal["imagenet", "clip", "half"]
NORMALISATIONS: Mapping[NormalisationName, Normalisation] = {"imagenet": IMAGENET, "clip": CLIP, "half": HALF}


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
    pad_value: float = GREY
    grayscale_probability: float = 0.0
    colour_probability: float = 0.0
    colour_strengths: tuple[float, float, float, float] = (0.15, 0.1, 0.05, 0.05)  # see `colour_jitter`
    augmix: AugMixConfig = field(default_factory=AugMixConfig)
    erase_fill: EraseFill = "colour"
    normalisation: Normalisation = IMAGENET  # whose mean, or noise, fills what is erased
    rebox_probability: float = 0.0
    rebox_strength: float = 0.15  # of each side: how far the detector's box may be wrong
    hide_probability: float = 0.0
    motion_blur_probability: float = 0.0


def augment(images: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """All changes in order; the size stays."""
    # Channel by channel: most of these operations are slow on the channels-last layout of decoded pictures.
    images = flip(images.contiguous(), config.flip_probability, generator)
    images = rebox(images, config.rebox_probability, config.rebox_strength, generator)
    images = shift(images, round(config.pad_share * images.shape[2]), generator, config.pad_value)
    images = grayscale(images, config.grayscale_probability, generator)
    images = jitter(images, config.jitter_strength, generator)
    images = colour_jitter(images, config.colour_probability, config.colour_strengths, generator)
    images = hide(images, config.hide_probability, generator)
    images = motion_blur(images, config.motion_blur_probability, generator)
    images = blur_by_downscaling(images, config.blur_probability, config.smallest_scale, generator)
    images = augmix(images, config.augmix, generator)
    return erase(
        images, config.erase_probability, config.erase_area, generator, config.erase_fill, config.normalisation
    )


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """To (height, width) `size`: bicubic, smoothed where it shrinks, as the published recipes have it."""
    if tuple(images.shape[2:]) == size:
        return images
    return functional.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)


def renormalised(images: Tensor, given: Normalisation, wanted: Normalisation) -> Tensor:
    """(B, 3, H, W) with mean and deviation of `given` → with those of `wanted`."""
    (old_mean, old_std), (mean, std) = given.of_bytes(images), wanted.of_bytes(images)
    return images * (old_std / std).to(images.dtype) + ((old_mean - mean) / std).to(images.dtype)


def normalise_each(images: Tensor) -> Tensor:
    """Every channel of every image to zero mean and unit deviation (instance normalisation)."""
    return functional.instance_norm(images)


def flip(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Mirror left and right."""
    chosen = chosen_places(images, probability, generator)
    return images.index_copy(0, chosen, images[chosen].flip(3))


def shift(images: Tensor, pad_px: int, generator: Generator, value: float = GREY) -> Tensor:
    """Pad with `value` by `pad_px` on each side and cut the old size at a random place."""
    if pad_px == 0:
        return images
    count, _, height, width = images.shape
    corners = torch.randint(0, 2 * pad_px + 1, (2, count), generator=generator, device=generator.device)
    top, left = corners.to(images.device)
    padded = functional.pad(images, (pad_px,) * 4, value=value)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # views: every place where the old size fits
    return windows[torch.arange(count, device=images.device), :, top, left]


def jitter(images: Tensor, strength: float, generator: Generator) -> Tensor:
    """Change brightness and contrast of each image by a factor in 1 ± `strength`."""
    if strength == 0.0:
        return images
    brightness, contrast = 1.0 + strength * (2.0 * uniform((2, len(images), 1, 1, 1), generator, images) - 1.0)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    # Brightness times (contrast times (image - mean) + mean), in one pass over the pixels.
    return torch.addcmul(brightness * (1.0 - contrast) * mean, images, brightness * contrast).clamp_(0.0, 255.0)


def blur_by_downscaling(images: Tensor, probability: float, smallest_scale: float, generator: Generator) -> Tensor:
    """Scale some images down and up again, as if the person had stood far from the camera. One scale per batch."""
    chosen = chosen_places(images, probability, generator)
    if not len(chosen):
        return images
    scale = smallest_scale + (1.0 - smallest_scale) * uniform((), generator, images).item()
    size = [max(1, round(scale * side)) for side in images.shape[2:]]
    small = functional.interpolate(images[chosen], size=size, mode="area")
    blurred = functional.interpolate(small, size=images.shape[2:], mode="bilinear", align_corners=False)
    return images.index_copy(0, chosen, blurred)


def erase(
    images: Tensor, probability: float, area: tuple[float, float], generator: Generator, fill: EraseFill = "colour",
    normalisation: Normalisation = IMAGENET,
) -> Tensor:  # fmt: skip
    """Random erasing (Zhong et al. 2020): fill one rectangle of some images.

    `area` bounds the rectangle's share of the image. `fill`: one random colour, the mean of `normalisation`, or normal
    noise of its mean and deviation, drawn for every pixel.
    """
    if probability == 0.0:
        return images
    chosen = chosen_places(images, probability, generator)
    height, width = images.shape[2:]
    share, shape, down, right, *colour = uniform((7, len(chosen)), generator, images)
    pixels = (area[0] + (area[1] - area[0]) * share) * height * width
    aspect = ERASED_ASPECT[0] * (ERASED_ASPECT[1] / ERASED_ASPECT[0]) ** shape
    box_height = (pixels * aspect).sqrt().round().clamp(1, height)
    box_width = (pixels / aspect).sqrt().round().clamp(1, width)
    in_rows = _inside((down * (height - box_height + 1)).floor(), box_height, height)
    in_columns = _inside((right * (width - box_width + 1)).floor(), box_width, width)
    box = in_rows[:, None, :, None] & in_columns[:, None, None, :]
    filling, std = normalisation.of_bytes(images)
    if fill == "colour":
        filling = torch.stack(colour, dim=1)[:, :, None, None] * 255.0
    if fill == "noise":
        size = (len(chosen), *images.shape[1:])
        noise = torch.randn(size, generator=generator, device=generator.device).to(images.device)
        filling = torch.addcmul(filling, noise, std)
    return images.index_copy(0, chosen, torch.where(box, filling, images[chosen]))


def _inside(first: Tensor, length: Tensor, size: int) -> Tensor:
    """(B, size): which of the places 0 to `size` - 1 lie in the `length` (B,) ones from `first` (B,) on."""
    places = torch.arange(size, device=first.device)
    return (places >= first[:, None]) & (places < (first + length)[:, None])
