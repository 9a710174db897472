"""What words and similarities come to: nobody competes, and a denied thing costs whoever shows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import F64
from pipeline.search.text_calibration import TextCalibration

CURVE = TextCalibration(slope=20.0, intercept=-10.0, per_word=-1.0, thing_slope=20.0, thing_intercept=0.0, least=0.7)
NO_THINGS: F64 = np.zeros((1, 0))
things = st.floats(-1.0, 1.0)


def test_a_probability_is_that_of_the_curve_however_many_there_are() -> None:
    for count in (1, 50):
        probabilities, is_match = CURVE.judged(np.full(count, 0.6))
        assert probabilities == pytest.approx(np.full(count, 1 / (1 + np.exp(-2.0))))
        assert is_match.all()


def test_the_same_similarity_to_more_words_means_something_else() -> None:
    few, many = (CURVE.asked(words).judged(np.array([0.6]))[0][0] for words in (1, 20))
    assert many < few


@given(st.lists(st.floats(0.001, 0.999), min_size=2, max_size=6), st.floats(0.01, 0.5), st.floats(0.01, 0.5))
def test_who_allows_more_false_answers_gets_no_fewer_answers(leasts: list[float], one: float, other: float) -> None:
    shares = np.linspace(0.02, 0.4, len(leasts)).tolist()
    measured = replace(CURVE, leasts=tuple(zip(shares, sorted(leasts, reverse=True), strict=True)))
    for curve in (CURVE, measured):
        strict, lax = (curve.answering(share).least for share in sorted((one, other)))
        assert 0.0 < lax <= strict + 1e-9 < 1.0


def test_a_measured_share_gives_the_least_that_was_measured() -> None:
    measured = replace(CURVE, leasts=((0.02, 0.9), (0.05, 0.7), (0.3, 0.4)))
    assert [measured.answering(share).least for share in (0.02, 0.05, 0.3)] == pytest.approx([0.9, 0.7, 0.4])
    assert 0.4 < measured.answering(0.1).least < 0.7 and measured.answering(0.5).least < 0.4


def test_without_a_denied_thing_the_similarity_counts_alone() -> None:
    assert CURVE.fits(np.array([0.3]), NO_THINGS) == pytest.approx([0.3])


@given(things, things)
def test_who_shows_a_denied_thing_more_fits_less(one: float, other: float) -> None:
    fits = CURVE.fits(np.zeros(2), np.array([[min(one, other)], [max(one, other)]]))
    assert fits[0] >= fits[1]


def test_surely_lacking_a_thing_is_hardly_better_than_probably_lacking_it() -> None:
    probably, surely, has = CURVE.fits(np.zeros(3), np.array([[-0.2], [-0.8], [0.2]]))
    assert surely - probably < 0.01 < 0.3 < probably - has


def test_what_a_site_taught_moves_the_probability() -> None:
    taught = TextCalibration(20.0, -10.0, -1.0, 20.0, 0.0, 0.7, site_slope=0.5, site_intercept=-1.0)
    assert taught.judged(np.array([0.6]))[0] == pytest.approx([0.5])
    assert taught.log_odds(np.array([0.6])) == pytest.approx([2.0])
