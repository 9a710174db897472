"""Probabilities that mean what they say, and curves found again."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contracts import F64
from pipeline.search.reliability import expected_calibration_error, fit_log_odds, reliability


def drawn(count: int, slope: float, intercept: float) -> tuple[F64, F64]:
    """Log-odds inputs (N, 2), and truths drawn by the curve."""
    rng = np.random.default_rng(3)
    inputs = np.stack([rng.normal(size=count), np.ones(count)], axis=1)
    chance = 1 / (1 + np.exp(-(inputs @ np.array([slope, intercept]))))
    return inputs, (rng.random(count) < chance).astype(np.float64)


def test_honest_probabilities_have_no_error_and_boasts_have_theirs() -> None:
    rng = np.random.default_rng(1)
    said = rng.random(40_000)
    truth = (rng.random(len(said)) < said).astype(np.float64)
    weights = np.ones(len(said))
    assert expected_calibration_error(said, truth, weights) < 0.02
    assert expected_calibration_error(np.ones(100), np.repeat([0.0, 1.0], 50), np.ones(100)) == pytest.approx(0.5)


def test_weights_count_as_repetitions_do() -> None:
    said, truth, times = np.array([0.3, 0.3, 0.9]), np.array([0.0, 1.0, 1.0]), np.array([3, 1, 2])
    repeated = [np.repeat(each, times) for each in (said, truth)]
    weighted = reliability(said, truth, times.astype(np.float64))
    plain = reliability(repeated[0], repeated[1], np.ones(6))
    assert [(each.said, each.true, each.weight) for each in weighted] == [
        pytest.approx((each.said, each.true, each.weight)) for each in plain
    ]


def test_a_curve_is_found_again() -> None:
    inputs, truth = drawn(20_000, 2.0, -1.0)
    found = fit_log_odds(inputs, truth, np.ones(len(truth)), np.zeros(2), np.full(2, 1e-6))
    assert found == pytest.approx([2.0, -1.0], abs=0.1)


def test_few_truths_hardly_move_a_curve_and_many_do() -> None:
    start, pull = np.array([1.0, 0.0]), np.array([10.0, 10.0])
    moved = []
    for count in (5, 5_000):
        inputs, truth = drawn(count, 3.0, -2.0)
        moved.append(fit_log_odds(inputs, truth, np.ones(count), start, pull))
    assert np.abs(moved[0] - start).max() < 0.3
    assert moved[1] == pytest.approx([3.0, -2.0], abs=0.3)


def test_truths_that_a_threshold_parts_have_a_curve_too() -> None:
    inputs = np.stack([np.linspace(-1, 1, 20), np.ones(20)], axis=1)
    found = fit_log_odds(inputs, (inputs[:, 0] > 0).astype(np.float64), np.ones(20), np.zeros(2), np.full(2, 1e-3))
    assert np.isfinite(found).all() and found[0] > 1
