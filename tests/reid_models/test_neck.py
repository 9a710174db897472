"""Pooling and the neck behind it."""

from __future__ import annotations

import pytest
import torch

from reid_models.neck import AveragePooling, GeneralisedMeanPooling, Neck, pool_generalised_mean, pooling_module


def test_the_necks_shift_stays_zero_in_training() -> None:
    neck = Neck(8, classes=3)
    neck.logits(neck(torch.randn(4, 8))).square().sum().backward()
    assert neck.bias.grad is None and not neck.bias.any()
    assert neck.weight.grad is not None


def test_a_neck_is_a_batch_normalisation_with_the_names_of_one() -> None:
    assert set(Neck(8).state_dict()) == set(torch.nn.BatchNorm1d(8).state_dict())
    assert set(Neck(8, 3).state_dict()) - set(Neck(8).state_dict()) == {"classifier.weight"}


def test_logits_without_a_classifier_say_how_to_get_one() -> None:
    with pytest.raises(ValueError, match=r"Neck\(width, classes\)"):
        Neck(8).logits(torch.zeros(2, 8))


def test_the_power_one_is_the_mean_and_a_great_power_the_maximum() -> None:
    places = torch.rand(2, 5, 4, 3) + 0.1
    assert torch.allclose(pool_generalised_mean(places, 1.0), AveragePooling()(places), atol=1e-5)
    assert torch.allclose(pool_generalised_mean(places, 100.0), places.amax(dim=(2, 3)), rtol=0.05)


def test_the_power_begins_at_three_and_its_gradient_is_right() -> None:
    pooling = GeneralisedMeanPooling()
    places = torch.rand(2, 5, 4, 3) + 0.1
    assert torch.allclose(pooling(places), pool_generalised_mean(places), atol=1e-6)
    pooling(places).sum().backward()
    step = 1e-2
    with torch.no_grad():
        slope = (pool_generalised_mean(places, 3.0 + step) - pool_generalised_mean(places, 3.0 - step)).sum() / (
            2 * step
        )
    assert pooling.power.grad is not None
    assert pooling.power.grad.item() == pytest.approx(slope.item(), rel=1e-2)


def test_the_towers_own_pooling_is_no_module() -> None:
    assert pooling_module("tower") is None
    assert isinstance(pooling_module("average"), AveragePooling)
