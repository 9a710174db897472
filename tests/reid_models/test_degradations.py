"""Spoilt images stay images, and each fault is the one that it is named for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_models.degradations import hide, motion_blur, rebox

seeds = st.integers(0, 2**31)


def some_images(count: int = 4, height: int = 32, width: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1)) * 255.0


def dice(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(0.0, 1.0))
def test_shape_and_range_stay(seed: int, probability: float) -> None:
    for changed in (
        rebox(some_images(), probability, 0.15, dice(seed)),
        hide(some_images(), probability, dice(seed)),
        motion_blur(some_images(), probability, dice(seed)),
    ):
        assert changed.shape == some_images().shape
        assert changed.min() >= -1e-3
        assert changed.max() <= 255.001


def test_probability_zero_changes_nothing() -> None:
    images = some_images()
    assert torch.equal(rebox(images, 0.0, 0.15, dice(0)), images)
    assert torch.equal(hide(images, 0.0, dice(0)), images)
    assert torch.equal(motion_blur(images, 0.0, dice(0)), images)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_a_new_box_keeps_what_lies_in_the_middle(seed: int) -> None:
    """A bright square around the centre is still around it, at most as far away as both sides can move."""
    images = torch.zeros(1, 3, 64, 64)
    images[:, :, 28:36, 28:36] = 255.0
    rows, columns = torch.where(rebox(images, 1.0, 0.15, dice(seed))[0, 0] > 128.0)
    for places in (rows, columns):
        assert 22 <= places.float().mean() <= 41


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_what_hides_a_person_is_another_one_and_leaves_most_of_her(seed: int) -> None:
    images = torch.arange(1.0, 5.0)[:, None, None, None].expand(4, 3, 20, 10)
    for number, changed in enumerate(hide(images, 1.0, dice(seed)), start=1):
        assert set(changed.unique().tolist()) == {float(number), float(number % 4 + 1)}
        assert 0.5 <= (changed == number).float().mean() <= 0.9


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_motion_blur_keeps_the_light_of_a_far_point_and_spreads_it(seed: int) -> None:
    images = torch.zeros(1, 3, 64, 64)
    images[:, :, 32, 32] = 255.0
    blurred = motion_blur(images, 1.0, dice(seed))
    assert blurred[0, 0].sum().item() == pytest.approx(255.0, rel=1e-4)
    assert blurred.max() < 200.0
