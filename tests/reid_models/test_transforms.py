"""Random changes keep what they promise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_models.augmix import AugMixConfig
from reid_models.transforms import (
    GREY,
    HALF,
    IMAGENET,
    AugmentConfig,
    augment,
    blur_by_downscaling,
    erase,
    flip,
    jitter,
    normalise_each,
    resize,
    shift,
)

seeds = st.integers(0, 2**31)
OFF = AugmentConfig(0.0, 0.0, 0.0, 0.0, 0.5, 0.0)
EVERYTHING = AugmentConfig(
    blur_probability=0.7, grayscale_probability=0.3, colour_probability=0.7,
    augmix=AugMixConfig(0.7), erase_fill="mean",
    rebox_probability=0.7, hide_probability=0.7, motion_blur_probability=0.7,
)  # fmt: skip


def some_images(count: int = 3, height: int = 20, width: int = 10) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1)) * 255.0


def dice(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_everything_switched_off_changes_nothing() -> None:
    assert torch.equal(augment(some_images(), OFF, dice(0)), some_images())


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from([AugmentConfig(), EVERYTHING]))
def test_size_and_range_stay(seed: int, config: AugmentConfig) -> None:
    changed = augment(some_images(), config, dice(seed))
    assert changed.shape == some_images().shape
    assert changed.min() >= -1e-3 and changed.max() <= 255.0 + 1e-3


@pytest.mark.parametrize("config", [AugmentConfig(), EVERYTHING])
def test_one_seed_gives_one_result_and_the_input_stays(config: AugmentConfig) -> None:
    images = some_images()
    first, second = augment(images, config, dice(3)), augment(images, config, dice(3))
    assert torch.equal(first, second)
    assert not torch.equal(first, images)
    assert torch.equal(images, some_images())


def test_the_layout_of_the_memory_does_not_matter() -> None:
    decoded = some_images().contiguous(memory_format=torch.channels_last)
    assert torch.allclose(augment(decoded, EVERYTHING, dice(3)), augment(some_images(), EVERYTHING, dice(3)), atol=1e-3)


@pytest.mark.parametrize(
    "probability", ["flip_probability", "erase_probability", "blur_probability", "grayscale_probability"]
)
def test_a_change_meets_its_share_of_the_images(probability: str) -> None:
    config = replace(OFF, **{probability: 0.3})
    changed = (augment(some_images(2000, 8, 4), config, dice(1)) != some_images(2000, 8, 4)).flatten(1).any(dim=1)
    assert 0.26 <= changed.float().mean() <= 0.34


def test_a_certain_flip_mirrors_and_twice_is_the_original() -> None:
    once = flip(some_images(), 1.0, dice(0))
    assert torch.equal(once[..., 0], some_images()[..., -1])
    assert torch.equal(flip(once, 1.0, dice(0)), some_images())


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([0.0, GREY]))
def test_a_shifted_image_is_a_piece_of_the_padded_one(seed: int, value: float) -> None:
    images = some_images(3)
    for shifted, image in zip(shift(images, 2, dice(seed), value), images, strict=True):
        padded = torch.nn.functional.pad(image, (2,) * 4, value=value)
        assert any(torch.equal(shifted, padded[:, y : y + 20, x : x + 10]) for y in range(5) for x in range(5))


def test_every_shift_occurs() -> None:
    marked = torch.zeros(400, 3, 5, 5)
    marked[:, :, 2, 2] = 1.0
    places = shift(marked, 1, dice(0), 0.0)[:, 0].flatten(1).argmax(dim=1)
    assert sorted(set(places.tolist())) == [6, 7, 8, 11, 12, 13, 16, 17, 18]


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from(["colour", "mean", "noise"]))
def test_erasing_fills_one_rectangle_of_the_allowed_area(seed: int, fill: str) -> None:
    images = some_images(2, 40, 40)
    for before, after in zip(images, erase(images, 1.0, (0.1, 0.2), dice(seed), fill), strict=True):
        changed = (after != before).any(dim=0)
        rows, columns = changed.any(dim=1).nonzero().flatten(), changed.any(dim=0).nonzero().flatten()
        height, width = len(rows), len(columns)
        assert rows[-1] - rows[0] + 1 == height and columns[-1] - columns[0] + 1 == width
        assert changed.sum() == height * width
        assert 0.08 <= height * width / 1600 <= 0.22
        values = after[:, changed]
        assert (values.std(dim=1).max() < 1e-3) == (fill != "noise")


def test_what_is_erased_with_the_mean_is_nothing_to_the_model() -> None:
    erased = erase(torch.full((1, 3, 10, 10), 10.0), 1.0, (0.2, 0.3), dice(0), "mean", IMAGENET)
    changed = (erased != 10.0).any(dim=1)[0]
    assert IMAGENET(erased)[0][:, changed].abs().max() < 1e-5


def test_noise_has_unit_deviation_to_the_model() -> None:
    erased = HALF(erase(torch.full((1, 3, 100, 100), -1e6), 1.0, (0.9, 0.9), dice(0), "noise", HALF))
    noise = erased[erased > -100.0]
    assert abs(noise.mean()) < 0.05 and abs(noise.std() - 1.0) < 0.05


def test_jitter_keeps_a_grey_image_grey_and_means_what_it_says() -> None:
    grey = torch.full((200, 3, 4, 4), 100.0)
    changed = jitter(grey, 0.3, dice(5))
    assert torch.allclose(changed, changed[:, :1, :1, :1].expand_as(changed))
    assert 70.0 <= changed.min() <= 75.0 and 125.0 <= changed.max() <= 130.0


def test_blur_removes_detail() -> None:
    stripes = torch.zeros(1, 3, 16, 16)
    stripes[..., ::2] = 255.0
    blurred = blur_by_downscaling(stripes, 1.0, 0.3, dice(0))
    assert blurred.std() < 0.6 * stripes.std()


def test_resizing_gives_the_size_and_keeps_the_range() -> None:
    edges = (some_images() > 127).float() * 255.0
    larger = resize(edges, (33, 17))
    assert larger.shape == (3, 3, 33, 17) and larger.min() >= 0.0 and larger.max() <= 255.0
    assert resize(edges, (20, 10)) is edges


def test_normalising_each_image_forgets_gain_and_offset_of_every_channel() -> None:
    images = some_images(4)
    normal = normalise_each(images)
    assert normal.mean(dim=(2, 3)).abs().max() < 1e-4 and (normal.std(dim=(2, 3), correction=0) - 1).abs().max() < 1e-3
    assert torch.allclose(normalise_each(images * 0.5 + 20.0), normal, atol=1e-4)
