"""AugMix and the operations that it mixes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_models.augmix import GEOMETRIC, POINTWISE, AugMixConfig, _warp, augmix

autocontrast, equalize, posterize, solarize = POINTWISE
TURN, SHEAR_X, SHEAR_Y, MOVE_X, MOVE_Y = range(GEOMETRIC)


def dice(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_images(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 24, 12, generator=dice(1)) * 255.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([AugMixConfig(1.0), AugMixConfig(0.5, 2, 3, 10)]))
def test_size_and_range_stay(seed: int, config: AugMixConfig) -> None:
    changed = augmix(some_images(), config, dice(seed))
    assert changed.shape == (3, 3, 24, 12)
    assert changed.min() >= -1e-3 and changed.max() <= 255.001


def test_the_probability_is_the_share_of_changed_images() -> None:
    assert torch.equal(augmix(some_images(), AugMixConfig(0.0), dice(0)), some_images())
    changed = (augmix(some_images(500), AugMixConfig(0.6), dice(0)) != some_images(500)).flatten(1).any(dim=1)
    assert 0.5 <= changed.float().mean() <= 0.65


def test_severity_one_is_mild() -> None:
    smooth = torch.nn.functional.interpolate(torch.rand(200, 3, 3, 2, generator=dice(1)) * 255.0, size=(64, 32))
    mild, strong = (
        (augmix(smooth, AugMixConfig(1.0, severity=severity), dice(2)) - smooth).abs().mean() for severity in (1, 10)
    )
    assert 2.0 * mild < strong


def test_autocontrast_stretches_each_channel_and_leaves_a_flat_one() -> None:
    images = some_images() * 0.2 + 60.0
    images[:, 2] = 77.0
    stretched = autocontrast(images, torch.zeros(3))
    assert torch.allclose(stretched[:, :2].amin(dim=(2, 3)), torch.zeros(3, 2), atol=1e-2)
    assert torch.allclose(stretched[:, :2].amax(dim=(2, 3)), torch.full((3, 2), 255.0), atol=1e-2)
    assert torch.equal(stretched[:, 2], images[:, 2])


def test_equalising_is_that_of_pillow() -> None:
    from PIL import Image, ImageOps

    images = (some_images() ** 2 / 255.0).floor()
    images = torch.nn.functional.interpolate(images, size=(48, 36))
    images[2, 1] = 9.0
    for ours, image in zip(equalize(images, torch.zeros(3)), images, strict=True):
        pillow = ImageOps.equalize(Image.fromarray(image.byte().permute(1, 2, 0).numpy()))
        assert torch.equal(
            ours.byte().permute(1, 2, 0),
            torch.frombuffer(bytearray(pillow.tobytes()), dtype=torch.uint8).view(48, 36, 3),
        )


def test_posterising_keeps_sixteen_levels_and_fewer_at_higher_ones() -> None:
    mild, strong = (posterize(some_images(), torch.full((3,), level)) for level in (0.1, 0.5))
    assert len(mild.unique()) == 16 and len(strong.unique()) == 4
    assert (some_images() - mild).min() >= 0.0 and (some_images() - mild).max() <= 16.0


def test_solarising_inverts_the_brightest() -> None:
    image = torch.tensor([10.0, 120.0, 250.0]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    assert solarize(image, torch.tensor([0.1]))[0, 0, 0].tolist() == [10.0, 120.0, 5.0]


@pytest.mark.parametrize("operation", range(GEOMETRIC))
def test_no_strength_moves_nothing(operation: int) -> None:
    moved = _warp(some_images(1), torch.tensor([operation]), torch.zeros(1))
    assert torch.allclose(moved, some_images(1), atol=1e-2)


def test_moving_by_whole_pixels_is_exact_and_brings_in_black() -> None:
    image = some_images(1)
    right = _warp(image, torch.tensor([MOVE_X]), torch.tensor([-0.5]))  # half of a third of 12 pixels
    assert torch.allclose(right[..., 2:], image[..., :-2], atol=1e-2) and right[..., :2].abs().max() < 1e-2
    up = _warp(image, torch.tensor([MOVE_Y]), torch.tensor([0.25]))  # a quarter of a third of 24
    assert torch.allclose(up[:, :, :-2], image[:, :, 2:], atol=1e-2)


def test_a_turn_keeps_lengths_on_an_oblong_image() -> None:
    image = torch.zeros(1, 3, 65, 33)
    image[..., 16 - 6 : 17 + 6, 16] = 1.0  # above the centre: a stroke upwards
    turned = _warp(image, torch.tensor([TURN]), torch.tensor([1.0]))[0, 0]
    rows, columns = (turned > 0.3).nonzero().T
    centre = torch.tensor([32.0, 16.0])
    distance = ((rows.float().mean() - centre[0]) ** 2 + (columns.float().mean() - centre[1]) ** 2).sqrt()
    assert abs(distance - 16.0) < 0.7
    assert abs(abs(columns.float().mean() - centre[1]) - 8.0) < 0.7  # sin 30° of 16


def test_a_shear_moves_rows_by_their_distance_from_the_middle() -> None:
    image = torch.zeros(1, 3, 41, 41)
    image[..., 20] = 1.0
    sheared = _warp(image, torch.tensor([SHEAR_X]), torch.tensor([1.0]))[0, 0]
    assert abs(int(sheared[10].argmax()) - 20) == 3 and abs(int(sheared[30].argmax()) - 20) == 3  # 0.3 times 10
    assert sheared[20].argmax() == 20
