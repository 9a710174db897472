"""Random changes keep what they promise."""

from __future__ import annotations

from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_models.transforms import AugmentConfig, augment, blur_by_downscaling, erase, flip, jitter, shift

seeds = st.integers(0, 2**31)


def some_images(count: int = 3, height: int = 20, width: int = 10) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1)) * 255.0


def dice(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_everything_switched_off_changes_nothing() -> None:
    off = AugmentConfig(0.0, 0.0, 0.0, 0.0, 0.5, 0.0)
    assert torch.allclose(augment(some_images(), off, dice(0)), some_images(), atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_size_and_range_stay(seed: int) -> None:
    changed = augment(some_images(), replace(AugmentConfig(), blur_probability=0.7), dice(seed))
    assert changed.shape == some_images().shape
    assert changed.min() >= 0.0 and changed.max() <= 255.0 + 1e-3


def test_one_seed_gives_one_result_and_the_input_stays() -> None:
    images = some_images()
    first, second = augment(images, AugmentConfig(), dice(3)), augment(images, AugmentConfig(), dice(3))
    assert torch.equal(first, second)
    assert torch.equal(images, some_images())


def test_a_certain_flip_mirrors_and_twice_is_the_original() -> None:
    once = flip(some_images(), 1.0, dice(0))
    assert torch.equal(once[..., 0], some_images()[..., -1])
    assert torch.equal(flip(once, 1.0, dice(0)), some_images())


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_a_shifted_image_is_a_piece_of_the_padded_one(seed: int) -> None:
    shifted = shift(some_images(1), 2, dice(seed))[0]
    padded = torch.nn.functional.pad(some_images(1), (2,) * 4, value=127.5)[0]
    assert any(torch.equal(shifted, padded[:, y : y + 20, x : x + 10]) for y in range(5) for x in range(5))


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_erasing_fills_one_rectangle_of_the_allowed_area_with_one_colour(seed: int) -> None:
    image = some_images(1, 40, 40)
    changed = (erase(image, 1.0, (0.1, 0.2), dice(seed)) != image).any(dim=1)[0]
    rows, columns = changed.any(dim=1).nonzero().flatten(), changed.any(dim=0).nonzero().flatten()
    height, width = len(rows), len(columns)
    assert rows[-1] - rows[0] + 1 == height and columns[-1] - columns[0] + 1 == width
    assert changed.sum() == height * width
    assert 0.08 <= height * width / 1600 <= 0.22


def test_jitter_keeps_a_grey_image_grey() -> None:
    grey = torch.full((2, 3, 4, 4), 100.0)
    changed = jitter(grey, 0.3, dice(5))
    assert torch.allclose(changed, changed[:, :1, :1, :1].expand_as(changed))


def test_blur_removes_detail() -> None:
    stripes = torch.zeros(1, 3, 16, 16)
    stripes[..., ::2] = 255.0
    blurred = blur_by_downscaling(stripes, 1.0, 0.3, dice(0))
    assert blurred.std() < 0.6 * stripes.std()
