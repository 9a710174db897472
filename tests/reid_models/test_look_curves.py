"""Log-odds curves from people who are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.look_scores import LOOK_SCORES, LOOK_SIZES
from pipeline.matching.looks import LookPrior
from reid_models.datasets.sample import F32, I64
from reid_models.look_curves import log_odds_curve, stranger_looks

SCORES = np.array(LOOK_SCORES)
some_scores = arrays.arrays(np.float32, st.integers(1, 60), elements=st.floats(-8, 16, width=32))


def unit(vectors: np.ndarray) -> F32:
    found: F32 = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return found


def seen(persons: int = 80, images: int = 5, cast: float = 0.0, noise: float = 0.6) -> tuple[F32, I64, I64]:
    """So many images of everybody before each of two cameras, each of which has a look of its own."""
    rng = np.random.default_rng(0)
    identities, cameras = np.repeat(np.arange(persons), 2 * images), np.tile(np.arange(2), persons * images)
    looks, casts = unit(rng.standard_normal((persons, 32))), unit(rng.standard_normal((2, 32)))
    errors = unit(rng.standard_normal((len(identities), 32)))
    return unit(looks[identities] + noise * errors + cast * casts[cameras]), identities, cameras


@given(some_scores, some_scores)
def test_a_curve_never_falls_and_is_never_certain(right: F32, wrong: F32) -> None:
    curve = np.array(log_odds_curve(right, wrong))
    assert curve.shape == SCORES.shape
    assert (np.diff(curve) >= 0).all() and (np.abs(curve) <= 12.0).all()


def test_a_curve_finds_the_ratio_of_two_known_densities() -> None:
    rng = np.random.default_rng(1)
    right, wrong = rng.normal(3.0, 1.0, 200_000), rng.normal(0.0, 1.0, 200_000)
    curve = np.array(log_odds_curve(right.astype(np.float32), wrong.astype(np.float32)))
    inside = (SCORES >= 0.0) & (SCORES <= 3.0)
    np.testing.assert_allclose(curve[inside], (3.0 * SCORES - 4.5)[inside], atol=0.2)


def test_where_nobody_was_seen_the_neighbours_decide() -> None:
    right, wrong = np.full(100, 3.0, np.float32), np.full(100, 0.0, np.float32)
    lowest, at_none, between, at_three, highest = np.interp(
        (-3.0, 0.0, 1.5, 3.0, LOOK_SCORES[-1]), SCORES, log_odds_curve(right, wrong)
    )
    assert lowest == at_none < -4.0 and highest == at_three > 4.0
    assert at_none <= between <= at_three


def test_both_kinds_weigh_the_same_however_many_there_are() -> None:
    rng = np.random.default_rng(2)
    right, wrong = rng.normal(3.0, 1.0, 4_000).astype(np.float32), rng.normal(0.0, 1.0, 4_000).astype(np.float32)
    often = np.array(log_odds_curve(right, np.tile(wrong, 20)))
    once = np.array(log_odds_curve(right, wrong))
    inside = (SCORES >= 0.0) & (SCORES <= 3.0)
    np.testing.assert_allclose(often[inside], once[inside], atol=0.3)


def test_strangers_are_measured_as_they_are() -> None:
    vectors, identities, cameras = seen(cast=0.8)
    found = stranger_looks(vectors, identities, cameras)
    similar = (vectors @ vectors.T)[(identities[:, None] != identities) & (cameras[:, None] != cameras)]
    assert found.mean == pytest.approx(float(similar.mean()), abs=1e-4)
    assert found.deviation == pytest.approx(float(similar.std()), abs=1e-4)


def test_what_a_camera_adds_to_everybody_does_not_change_the_curves_much() -> None:
    plain, cast = stranger_looks(*seen(noise=1.0)), stranger_looks(*seen(cast=0.8, noise=1.0))
    for one, other in zip(plain.curves, cast.curves, strict=True):
        even = [np.interp(0.0, curve, SCORES) for curve in (one, other)]
        assert even[0] == pytest.approx(even[1], abs=0.5)


def test_larger_groups_tell_more() -> None:
    curves = np.array(stranger_looks(*seen(noise=1.0)).curves)
    between = [np.interp(2.5, SCORES, curve) - np.interp(0.5, SCORES, curve) for curve in curves]
    assert between == sorted(between) and between[0] < between[-1]


def test_where_few_have_many_images_the_curve_of_smaller_groups_stands_for_larger() -> None:
    single, double, fourfold = stranger_looks(*seen(images=2)).curves
    assert single != double == fourfold
    assert len(set(stranger_looks(*seen(images=1)).curves)) == 1


@settings(max_examples=5)
@given(st.integers(0, 100))
def test_the_same_seed_gives_the_same_curves_and_the_matcher_takes_them(seed: int) -> None:
    vectors, identities, cameras = seen(persons=30)
    found = stranger_looks(vectors, identities, cameras, seed)
    assert found == stranger_looks(vectors, identities, cameras, seed)
    prior = LookPrior(found.mean, found.deviation, np.array(found.curves))
    assert prior.curves.shape == (len(LOOK_SIZES), len(LOOK_SCORES))
