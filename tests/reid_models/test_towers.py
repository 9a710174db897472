"""Light image towers."""

from __future__ import annotations

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from reid_models.neck import pool_generalised_mean
from reid_models.towers import PersonCnn, StripPooling, fold_batch_norms


@pytest.mark.parametrize(
    ("name", "size", "least", "most", "giga_multiply_adds"),
    [
        ("person_cnn_small", (112, 56), 7.5e6, 8e6, 0.28),
        ("person_cnn_strips", (128, 64), 7.7e6, 8.1e6, 0.36),
        ("person_cnn_light", (112, 56), 2.7e6, 2.9e6, 0.10),
        ("person_cnn_nano", (64, 32), 0.85e6, 0.95e6, 0.011),
        ("person_cnn_tiny", (64, 32), 0.05e6, 0.15e6, 0.0029),
    ],
)
def test_a_tower_costs_what_its_docstring_says(
    name: str, size: tuple[int, int], least: float, most: float, giga_multiply_adds: float
) -> None:
    tower = timm.create_model(name).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        assert tower(torch.rand(1, 3, *size)).shape == (1, tower.num_features)
    assert least <= sum(parameter.numel() for parameter in tower.parameters()) <= most
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga_multiply_adds, rel=0.1)


@pytest.mark.parametrize("depths", [(1, 1, 1), (1, 2, 3)])
def test_the_maps_are_those_around_the_last_stage(depths: tuple[int, ...]) -> None:
    tower = PersonCnn((8, 16, 24), depths, 8).eval()
    image = torch.rand(2, 3, 64, 32)
    with torch.inference_mode():
        before, last = tower.maps(image)
        expected = tower.blocks(tower.stem(image))
        assert torch.equal(tower(image), pool_generalised_mean(expected))
    assert torch.equal(last, expected)
    assert before.shape == (2, 16, 8, 4) and last.shape == (2, 24, 8, 4)


def test_folding_the_norms_changes_no_feature() -> None:
    torch.manual_seed(0)
    tower = PersonCnn((8, 16, 24), (1, 2, 1), 8)
    for module in tower.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    tower.eval()
    image = torch.rand(2, 3, 64, 32)
    with torch.inference_mode():
        before = tower(image)
        fold_batch_norms(tower)
        assert torch.allclose(tower(image), before, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in tower.modules())


def test_a_classifier_is_refused() -> None:
    with pytest.raises(ValueError, match="has no classifier"):
        PersonCnn((8, 16), (1, 1), 8).reset_classifier(10)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 5))
def test_each_strip_is_pooled_from_its_own_rows(rows: int, strips: int) -> None:
    pooling = StripPooling(3, 5, strips, 2)
    places = torch.rand(2, 3, rows, 4)
    whole, *parts = pooling(places).split(pooling.widths, dim=1)
    torch.testing.assert_close(whole, pooling.projections[0](pool_generalised_mean(places)))
    assert len(parts) == strips
    for strip, part in enumerate(parts):
        start, end = round(rows * strip / strips), round(rows * (strip + 1) / strips)
        start = min(start, rows - 1)
        own = places[:, :, start : max(end, start + 1)]
        torch.testing.assert_close(part, pooling.projections[1 + strip](pool_generalised_mean(own)))


def test_a_change_of_the_legs_leaves_what_the_upper_strips_say() -> None:
    tower = timm.create_model("person_cnn_tiny_strips").eval()
    map_of_image = torch.rand(1, 64, 8, 4)
    changed = map_of_image.clone()
    changed[:, :, 4:] = 0.0
    before, after = (tower.pool(places).split(tower.part_widths, dim=1) for places in (map_of_image, changed))
    assert torch.equal(before[1], after[1])
    assert not torch.equal(before[2], after[2])
