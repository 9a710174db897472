"""Verdicts move a curve slowly, and to where they are true."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contracts import GlobalId
from pipeline.search.feedback import Verdict, taught
from pipeline.search.reliability import expected_calibration_error
from pipeline.search.text_calibration import TextCalibration, chances

CURVE = TextCalibration(slope=20.0, intercept=-10.0, per_word=0.0, thing_slope=20.0, thing_intercept=0.0, least=0.7)


def said(log_odds: float, is_right: bool) -> Verdict:
    return Verdict("red coat", GlobalId(1), log_odds, is_right, "ann", 0.0)


def verdicts(count: int, slope: float, intercept: float, seed: int = 1) -> list[Verdict]:
    """Of a site where `slope` * log-odds + `intercept` would be right."""
    rng = np.random.default_rng(seed)
    told = rng.normal(0.0, 2.0, count)
    truth = rng.random(count) < chances(slope * told + intercept)
    return [said(float(own), bool(is_right)) for own, is_right in zip(told, truth, strict=True)]


def test_without_verdicts_the_curve_is_that_of_the_model() -> None:
    assert taught(taught(CURVE, verdicts(50, 1.0, -3.0)), []) == CURVE


def test_one_verdict_hardly_moves_a_probability_and_hundreds_do() -> None:
    one, many = taught(CURVE, [said(2.0, False)]), taught(CURVE, [said(2.0, False)] * 300)
    before, after_one, after_many = (curve.judged(np.array([0.6]))[0][0] for curve in (CURVE, one, many))
    assert before - after_one < 0.05
    assert after_many < 0.2


def test_a_site_where_the_model_boasts_becomes_honest() -> None:
    curve = taught(CURVE, verdicts(400, 0.5, -1.5))
    unseen = verdicts(4000, 0.5, -1.5, seed=2)
    told = np.array([verdict.log_odds for verdict in unseen])
    truth = np.array([float(verdict.is_right) for verdict in unseen])
    weights = np.ones(len(unseen))
    before = expected_calibration_error(chances(told), truth, weights)
    after = expected_calibration_error(chances(curve.site_slope * told + curve.site_intercept), truth, weights)
    assert before > 0.15 and after < 0.05


@pytest.mark.parametrize("is_right", [True, False])
def test_whatever_is_said_more_similar_stays_more_probable(is_right: bool) -> None:
    contrary = [said(-4.0, is_right)] * 500 + [said(4.0, not is_right)] * 500
    curve = taught(CURVE, contrary)
    probabilities = curve.judged(np.array([0.9, 0.5, 0.1]))[0]
    assert probabilities[0] > probabilities[1] > probabilities[2]
