"""Changes of colour."""

from __future__ import annotations

import colorsys

import torch
from hypothesis import given
from hypothesis import strategies as st

from reid_models.colours import LUMA, colour_jitter, grayscale


def dice(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_images(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 8, 4, generator=dice(1)) * 255.0


def luma_of(images: torch.Tensor) -> torch.Tensor:
    return (images * torch.tensor(LUMA).view(3, 1, 1)).sum(dim=1)


def test_a_grey_image_has_three_equal_channels_of_the_same_brightness() -> None:
    grey = grayscale(some_images(), 1.0, dice(0))
    assert torch.allclose(grey, grey[:, :1].expand_as(grey))
    assert torch.allclose(luma_of(grey), luma_of(some_images()), atol=1e-2)


def test_no_strength_changes_nothing() -> None:
    assert torch.allclose(colour_jitter(some_images(), 1.0, (0.0,) * 4, dice(0)), some_images(), atol=0.05)


@given(st.integers(0, 2**31))
def test_a_uniform_grey_image_answers_to_brightness_only(seed: int) -> None:
    grey = torch.full((2, 3, 4, 4), 100.0)
    changed = colour_jitter(grey, 1.0, (0.2, 0.9, 0.9, 0.5), dice(seed))
    assert torch.allclose(changed, changed[:, :1, :1, :1].expand_as(changed), atol=0.1)
    assert changed.min() >= 79.9 and changed.max() <= 120.1


def test_contrast_keeps_the_mean_and_scales_what_differs_from_it() -> None:
    image = torch.full((1, 3, 2, 2), 100.0)
    image[..., 0] = 140.0
    changed = colour_jitter(image.expand(50, -1, -1, -1), 1.0, (0.0, 0.5, 0.0, 0.0), dice(0))
    spread = changed[:, 0, 0, 0] - changed[:, 0, 0, 1]
    assert torch.allclose(changed.mean(dim=(1, 2, 3)), torch.full((50,), 120.0), atol=0.1)
    assert 19.9 <= spread.min() <= 25.0 and 55.0 <= spread.max() <= 60.1


def test_saturation_and_hue_keep_brightness() -> None:
    pastel = 110.0 + 0.1 * some_images(50)
    changed = colour_jitter(pastel, 1.0, (0.0, 0.0, 0.4, 0.5), dice(0))
    assert torch.allclose(luma_of(changed), luma_of(pastel), atol=0.2)
    assert not torch.allclose(changed, pastel, atol=3.0)


def test_a_small_turn_of_the_hue_is_nearly_that_of_hsv() -> None:
    pixels = torch.tensor([90.0, 180.0, 120.0]).view(1, 3, 1, 1).expand(60, -1, -1, -1)
    turned = colour_jitter(pixels, 1.0, (0.0, 0.0, 0.0, 0.05), dice(2))
    before, *hues = (colorsys.rgb_to_hsv(*(pixel.flatten() / 255.0).tolist())[0] for pixel in [pixels[0], *turned])
    assert all(abs(hue - before) < 0.075 for hue in hues)
    assert max(hues) - before > 0.025 and before - min(hues) > 0.025
