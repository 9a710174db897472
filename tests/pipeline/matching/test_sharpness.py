"""How far the looks of a site are to be believed, as the times tell it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.contracts import F64
from pipeline.matching import learning
from pipeline.matching.calibration import Calibration
from pipeline.matching.looks import LookPrior, straight_curves
from pipeline.matching.people import MemoryConfig
from pipeline.matching.sharpness import _LOOKS, _PIVOT, _TIMES, Sharpness, sharpened, sharpness
from services.evaluation.identity import score_identities
from services.evaluation.identity_answers import answers_of, play
from services.evaluation.identity_matcher import OfflineMatcher
from services.evaluation.identity_report import judged_tracklets
from services.evaluation.vector_looks import LookModel
from services.evaluation.vector_site import SimulatedPeople, VectorSite
from tests.pipeline.matching.made_site import people_with

MIDDLES = (_LOOKS[1:] + _LOOKS[:-1]) / 2
ONE = np.array([0, 0, 1, 2, 3, 5, 8, 13, 20, 25, 18, 5]) / 100.0
TWO = ONE[::-1].copy()
SHARE = 0.01


def counted(slope: float, shift: float, pairs: int = 40_000, seed: int = 1) -> F64:
    """Pairs whose looks tell `slope` times as much as they say, and `shift` more."""
    rng = np.random.default_rng(seed)
    true_odds = rng.normal(-6.0, 5.0, pairs)
    is_one = rng.random(pairs) < 1.0 / (1.0 + np.exp(-(true_odds + math.log(SHARE / (1.0 - SHARE)))))
    times = np.where(is_one, rng.choice(12, pairs, p=ONE), rng.choice(12, pairs, p=TWO))
    said = ((true_odds - shift) / slope).clip(_LOOKS[0], _LOOKS[-1])
    middles = (_TIMES[1:] + _TIMES[:-1]) / 2
    found: F64 = np.histogram2d(said, middles[times], (_LOOKS, _TIMES))[0]
    return found


def test_looks_that_are_right_more_often_than_they_say_count_for_more() -> None:
    found = sharpness(counted(slope=1.8, shift=-1.5))
    assert found.slope == pytest.approx(1.8, abs=0.3)
    for said in (4.0, 5.0):
        assert found.of(np.array([said]))[0] == pytest.approx(1.8 * said - 1.5, abs=0.8)


@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (0.6, 0.0), (1.0, -2.0)])
def test_looks_that_say_what_they_tell_or_more_stay_as_they_are(slope: float, shift: float) -> None:
    found = sharpness(counted(slope, shift))
    assert found.slope == pytest.approx(1.0, abs=0.1) and found.shift == pytest.approx(0.0, abs=0.3)


def test_a_few_pairs_teach_nothing() -> None:
    assert sharpness(counted(slope=2.0, shift=-1.0, pairs=300)) == Sharpness()
    assert sharpness(np.zeros((len(_LOOKS) - 1, len(_TIMES) - 1))) == Sharpness()


def test_times_that_tell_nothing_teach_nothing() -> None:
    pairs = counted(slope=2.0, shift=-1.0).sum(axis=1, keepdims=True) * np.full((1, len(_TIMES) - 1), 1 / 12)
    found = sharpness(pairs)
    assert found.of(np.array([4.0]))[0] == pytest.approx(4.0, abs=1.0)


@settings(max_examples=40)
@given(arrays(np.float64, (len(_LOOKS) - 1, len(_TIMES) - 1), elements=st.integers(0, 30).map(float)))
def test_whatever_was_counted_curves_rise_and_weak_looks_gain_nothing(pairs: F64) -> None:
    found = sharpness(pairs)
    assert 1.0 <= found.slope <= 3.0
    below = MIDDLES[MIDDLES <= _PIVOT]
    assert (found.of(below) <= below + 1e-9).all()
    assert (np.diff(found.of(straight_curves(2.0, 2.0))) >= 0.0).all()


EASY = LookModel(outfits=0, person=0.55, camera=0.05, sighting=0.09, piece=0.2)
TIMID = LookPrior(mean=0.1, deviation=0.1, curves=straight_curves(slope=1.0, midpoint=3.0))


def test_a_site_whose_people_differ_more_than_others_is_found_out_and_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    arrivals = list(SimulatedPeople(VectorSite(looks=EASY, people=60), np.random.default_rng(3)))

    def f1() -> tuple[float, Calibration]:
        matcher = OfflineMatcher(MemoryConfig(prior=TIMID))
        answers = answers_of(play(matcher, arrivals))
        assert matcher._people is not None
        finals = {name: answer.final for name, answer in answers.items()}
        return score_identities(judged_tracklets(arrivals, finals)).idf1, matcher._people.calibration

    with_it, calibration = f1()
    assert calibration.curves[0, -1] > TIMID.curves[0, -1] + 1.0
    monkeypatch.setattr(learning, "sharpened", lambda people, calibration, *_: calibration.curves)
    without, plain = f1()
    np.testing.assert_array_equal(plain.curves, TIMID.curves)
    assert with_it > without + 0.02


def test_nobody_known_teaches_nothing() -> None:
    people = people_with()
    none = np.zeros(0)
    spans = people.tracks.everything()
    np.testing.assert_array_equal(
        sharpened(people, people.calibration, spans, none.astype(np.int64), np.zeros(1)), people.calibration.curves
    )
