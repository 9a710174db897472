"""Rates over the epochs, and which parameter gets which."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reid_models.schedules import Optimisation, OptimiserConfig, Schedule


def test_a_cosine_rises_then_falls_to_its_floor() -> None:
    schedule = Schedule(2.0, epochs=10, floor=0.05)
    rates = [schedule.share(epoch) for epoch in np.linspace(0, 10, 101)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(1.0) and rates[-1] == pytest.approx(0.05)
    assert rates.index(max(rates)) == 20
    assert all(before >= after for before, after in pairwise(rates[20:]))


def test_steps_come_at_their_milestones() -> None:
    schedule = Schedule(10, 0.1, milestones=(30, 50), whole_epochs=True)  # CLIP-ReID's
    assert schedule.share(0.9) == pytest.approx(0.1)
    assert schedule.share(5) == pytest.approx(0.55)
    assert [round(schedule.share(epoch), 9) for epoch in (10, 29.9, 30, 49, 50)] == [1.0, 1.0, 0.1, 0.1, 0.01]


@given(st.floats(0, 100), st.integers(0, 10), st.one_of(st.none(), st.integers(1, 60)))
def test_a_share_stays_between_nothing_and_the_whole(epoch: float, warm_up: int, epochs: int | None) -> None:
    assert 0.0 <= Schedule(warm_up, 0.01, (20,), epochs=epochs).share(epoch) <= 1.0


def test_biases_have_their_own_rate_and_vectors_need_not_decay() -> None:
    linear = nn.Linear(2, 2)
    config = OptimiserConfig(1.0, 0.0, "adam", bias_rate_factor=2.0, schedule=Schedule(epochs=4))
    optimisation = Optimisation(config, [linear])
    before = {name: value.detach().clone() for name, value in linear.named_parameters()}
    optimisation.set_rate(0.0)
    linear(torch.ones(1, 2)).sum().backward()
    optimisation.step()
    moved = {name: (before[name] - value.detach()).abs().max().item() for name, value in linear.named_parameters()}
    # Adam's first step is as long as the rate.
    assert moved["weight"] == pytest.approx(1.0, rel=1e-5) and moved["bias"] == pytest.approx(2.0, rel=1e-5)


def test_frozen_parameters_are_left_out() -> None:
    linear = nn.Linear(2, 2)
    linear.weight.requires_grad_(False)
    assert [name for name, _ in Optimisation(OptimiserConfig(1.0), [linear]).parameters] == ["bias"]
