"""From similarities to log-odds, by the curves of a model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import F64
from pipeline.look_scores import LOOK_SCORES, LOOK_SIZES
from pipeline.matching.looks import LookPrior, even_score, look_odds, straight_curves

MEASURED: F64 = np.cumsum(np.random.default_rng(5).uniform(0.0, 0.9, (len(LOOK_SIZES), len(LOOK_SCORES))), axis=1) - 5.0

scores = st.floats(-6.0, 14.0)
pairs = st.floats(1.0, 400.0)


def odds(score: float, count: float, curves: F64 = MEASURED) -> float:
    return float(look_odds(curves, np.array([score]), np.array([count]))[0])


@pytest.mark.parametrize("size", LOOK_SIZES)
def test_a_measured_score_of_a_measured_size_has_the_measured_odds(size: int) -> None:
    found = look_odds(MEASURED, np.array(LOOK_SCORES), np.full(len(LOOK_SCORES), float(size**2)))
    np.testing.assert_allclose(found, MEASURED[LOOK_SIZES.index(size)])


def test_halfway_between_scores_and_sizes_the_odds_are_halfway() -> None:
    score = (LOOK_SCORES[7] + LOOK_SCORES[8]) / 2
    single, double = MEASURED[0, 7:9].mean(), MEASURED[1, 7:9].mean()
    assert odds(score, 1.0) == pytest.approx(single)
    assert odds(score, 2.0) == pytest.approx((single + double) / 2)  # one pair against four: two lie halfway


@given(scores, pairs)
def test_nothing_is_believed_beyond_what_was_measured(score: float, count: float) -> None:
    assert MEASURED[:, 0].min() - 1e-9 <= odds(score, count) <= MEASURED[:, -1].max() + 1e-9
    assert odds(score, max(count, LOOK_SIZES[-1] ** 2)) == pytest.approx(odds(score, LOOK_SIZES[-1] ** 2))


@given(scores, scores, pairs)
def test_more_alike_is_never_less_likely(one: float, other: float, count: float) -> None:
    assert odds(min(one, other), count) <= odds(max(one, other), count) + 1e-9


@given(st.lists(st.tuples(scores, pairs), min_size=1, max_size=6))
def test_many_are_weighed_as_each_alone(asked: list[tuple[float, float]]) -> None:
    found = look_odds(MEASURED, np.array([score for score, _ in asked]), np.array([count for _, count in asked]))
    np.testing.assert_allclose(found, [odds(score, count) for score, count in asked])


def test_nobody_to_weigh_is_no_odds() -> None:
    assert look_odds(MEASURED, np.zeros(0), np.zeros(0)).shape == (0,)


def test_straight_curves_are_even_at_the_midpoint_and_larger_groups_tell_more() -> None:
    curves = straight_curves(slope=2.0, midpoint=2.0)
    assert odds(2.0, 1.0, curves) == 0.0
    assert odds(2.5, 1.0, curves) == pytest.approx(1.0)
    assert odds(6.0, 1.0, curves) < odds(6.0, 4.0, curves) < odds(6.0, 16.0, curves)
    assert odds(0.0, 1.0, curves) > odds(0.0, 4.0, curves) > odds(0.0, 16.0, curves)


@given(st.floats(0.2, 0.9), st.floats(8.0, 40.0))
def test_of_a_model_with_a_plain_curve_two_single_tracklets_follow_that_curve(midpoint: float, slope: float) -> None:
    prior = LookPrior.of_curve(midpoint, slope)
    for similarity in (midpoint, midpoint + 0.5 / slope):
        score = (similarity - prior.mean) / prior.deviation
        assert odds(score, 1.0, prior.curves) == pytest.approx(slope * (similarity - midpoint), abs=1e-6)


@pytest.mark.parametrize(("mean", "deviation"), [(1.5, 0.1), (-1.5, 0.1), (0.1, 0.0), (0.1, -1.0), (np.nan, 0.1)])
def test_strangers_who_cannot_be_are_refused(mean: float, deviation: float) -> None:
    with pytest.raises(ValueError, match="expected a cosine"):
        LookPrior(mean, deviation)


@pytest.mark.parametrize("curves", [MEASURED[:, :-1], MEASURED[:-1], MEASURED[:, ::-1], MEASURED * np.nan])
def test_curves_that_fall_or_do_not_fit_are_refused(curves: F64) -> None:
    with pytest.raises(ValueError, match="never fall"):
        LookPrior(curves=curves)


@given(st.floats(-3.0, 10.0), pairs)
def test_below_the_even_score_nobody_is_rather_one_than_two(below: float, count: float) -> None:
    even = even_score(MEASURED)
    assert odds(even - 1e-9 - abs(below), count) < 0.0
    assert max(odds(even + 1e-9, size**2) for size in LOOK_SIZES) >= 0.0


def test_curves_that_are_never_or_always_even_have_no_even_score() -> None:
    assert even_score(np.full_like(MEASURED, -1.0)) == np.inf
    assert even_score(np.full_like(MEASURED, 1.0)) == -np.inf
