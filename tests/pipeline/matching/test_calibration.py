"""What a site teaches about its cameras."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts import F32, I64
from pipeline.matching.calibration import Calibration, learnt
from pipeline.matching.looks import LookPrior
from pipeline.matching.transit import TransitTimes, count_transits
from tests.fakes import unit_vectors
from tests.pipeline.matching import made_site
from tests.pipeline.matching.made_site import PRIOR

DIMENSION = 32


def taught(vectors: F32, places: I64, people: I64, cameras: tuple[str, ...] = ("gate", "hall")) -> Calibration:
    before = Calibration.first(vectors.shape[1], PRIOR)
    return learnt_after(before, len(vectors), cameras, vectors, places, people, 0.8)


def learnt_after(
    before: Calibration,
    tracklets: int,
    cameras: tuple[str, ...],
    vectors: F32,
    places: I64,
    people: I64,
    least: float,
) -> Calibration:
    """From vectors of which all are compared with one another."""
    sums, held = np.zeros((len(cameras) + 1, vectors.shape[1])), np.bincount(places, minlength=len(cameras) + 1)
    np.add.at(sums, places, vectors)
    unknown = TransitTimes.unknown()
    return learnt(
        before,
        tracklets,
        cameras,
        sums,
        held,
        vectors,
        places,
        people,
        unknown,
        PRIOR,
        np.zeros(len(cameras) + 1),
        least,
    )


def seen_by_cameras(
    seed: int = 0, persons: int = 80, cast: float = 0.0, cameras: int = 2, noise: float = 0.05
) -> tuple[F32, I64, I64]:
    """Everybody twice before every camera, each camera adding a look of its own: vectors, places, persons."""
    rng = np.random.default_rng(seed)
    people, places = np.repeat(np.arange(persons), 2 * cameras), np.tile(np.arange(cameras), 2 * persons)
    looks = unit_vectors(rng, persons, DIMENSION)[people] + cast * unit_vectors(rng, cameras, DIMENSION)[places]
    vectors = looks + noise * rng.standard_normal(looks.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), places, people


def assert_equal(one: Calibration, other: Calibration) -> None:
    for field in fields(Calibration):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name == "transit":
            for part in fields(TransitTimes):
                np.testing.assert_array_equal(getattr(mine, part.name), getattr(theirs, part.name))
        elif isinstance(mine, np.ndarray):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)
        else:
            assert mine == theirs


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.floats(0.0, 1.0), st.lists(st.text(max_size=8), unique=True, min_size=2, max_size=2))
def test_what_is_kept_comes_back_to_the_last_bit(seed: int, least: float, cameras: list[str]) -> None:
    rng = np.random.default_rng(seed)
    at = rng.uniform(0.0, 1e5, 40)
    transit = count_transits(rng.integers(0, 2, 40), rng.integers(0, 9, 40), at, at + 4.0, rng.uniform(size=40), 2)
    site = replace(
        taught(*seen_by_cameras(seed, persons=5)), transit=transit, cameras=tuple(cameras), least_probability=least
    )
    back = Calibration.unpacked(site.packed())
    assert_equal(site, back)
    assert back.packed() == site.packed()


def test_the_first_calibration_comes_back_too() -> None:
    first = Calibration.first(8, PRIOR)
    assert_equal(first, Calibration.unpacked(first.packed()))


def test_before_anything_was_seen_vectors_are_taken_as_they_are() -> None:
    first = Calibration.first(DIMENSION, PRIOR)
    vectors = unit_vectors(np.random.default_rng(2), 5, DIMENSION)
    np.testing.assert_allclose(first.looks(vectors, np.zeros(5, np.int64)), vectors, atol=1e-6)
    assert (first.number, first.place("anything")) == (0, 0)


def test_cameras_have_places_and_all_others_share_the_last() -> None:
    site = taught(*seen_by_cameras())
    assert [site.place(name) for name in ("gate", "hall", "roof", "cellar")] == [0, 1, 2, 2]


def test_a_constant_cast_of_each_camera_is_taken_away() -> None:
    vectors, places, people = seen_by_cameras(cast=1.0)
    site = taught(vectors, places, people)
    looks = site.looks(vectors, places)
    assert np.linalg.norm(looks, axis=1) == pytest.approx(1.0, abs=1e-5)
    for place in (0, 1):
        assert np.linalg.norm(vectors[places == place].mean(axis=0)) > 0.6
        assert np.linalg.norm(looks[places == place].mean(axis=0)) < 0.15
    across = (people[:, None] == people) & (places[:, None] != places)
    assert (looks @ looks.T)[across].mean() > 0.85 > (vectors @ vectors.T)[across].mean() + 0.2


def test_a_camera_that_was_hardly_seen_is_taken_as_the_site_is() -> None:
    vectors, places, people = seen_by_cameras(cast=1.0)
    site = taught(vectors, places, people, ("gate", "hall", "roof"))
    mean = vectors.mean(axis=0)
    for place in (2, 3):  # the roof, and whatever camera may come
        np.testing.assert_allclose(site.offsets[place], mean, atol=1e-5)


def test_how_alike_strangers_are_is_found_for_each_two_cameras() -> None:
    vectors, places, people = seen_by_cameras(persons=150, noise=0.3)
    shared = unit_vectors(np.random.default_rng(9), 1, DIMENSION)[0]
    # Half of the people in the hall carry the same bag: strangers there are more alike, and some much more.
    carrying = (places == 1) & (people % 2 == 0)
    vectors = vectors + np.float32(1.5) * carrying[:, None] * shared
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    site = taught(vectors, places, people)
    looks = site.looks(vectors, places)
    similarities, is_stranger = looks @ looks.T, people[:, None] != people
    for here in (0, 1):
        for there in (0, 1):
            pairs = similarities[is_stranger & (places[:, None] == here) & (places == there)]
            assert site.strangers_mean[here, there] == pytest.approx(float(pairs.mean()), abs=0.01)
            assert site.strangers_deviation[here, there] == pytest.approx(float(pairs.std()), abs=0.01)
    np.testing.assert_allclose(site.strangers_mean, site.strangers_mean.T)
    assert site.strangers_deviation[1, 1] > site.strangers_deviation[0, 0] + 0.05


def test_two_cameras_without_strangers_are_as_the_site_and_a_site_without_them_as_the_model() -> None:
    vectors, places, people = seen_by_cameras(persons=150)
    site = taught(vectors, places, people, ("gate", "hall", "roof"))
    looks = site.looks(vectors, places)
    pairs = (looks @ looks.T)[people[:, None] != people]
    for here, there in ((0, 2), (2, 2), (3, 1)):
        assert site.strangers_mean[here, there] == pytest.approx(float(pairs.mean()), abs=0.01)
        assert site.strangers_deviation[here, there] == pytest.approx(float(pairs.std()), abs=0.01)
    alone = taught(vectors[:4], places[:4], people[:4])
    np.testing.assert_allclose(alone.strangers_mean, PRIOR.mean, atol=1e-9)
    np.testing.assert_allclose(alone.strangers_deviation, PRIOR.deviation, atol=1e-9)


@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_the_order_of_the_exemplars_does_not_matter(seed: int) -> None:
    vectors, places, people = seen_by_cameras(seed, persons=12, cast=0.5)
    order = np.random.default_rng(seed).permutation(len(vectors))
    one, other = taught(vectors, places, people), taught(vectors[order], places[order], people[order])
    np.testing.assert_allclose(one.offsets, other.offsets, atol=1e-6)
    np.testing.assert_allclose(one.strangers_mean, other.strangers_mean, atol=1e-6)
    np.testing.assert_allclose(one.strangers_deviation, other.strangers_deviation, atol=1e-6)


def test_calibrations_are_numbered_and_say_of_how_much_they_were_learnt() -> None:
    vectors, places, people = seen_by_cameras(persons=3)
    second = learnt_after(taught(vectors, places, people), 99, ("a", "b"), vectors, places, people, 0.7)
    assert (second.number, second.tracklets, second.cameras, second.least_probability) == (2, 99, ("a", "b"), 0.7)


@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0), st.integers(1, 12))
def test_more_alike_is_never_less_likely(one: float, other: float, exemplars: int) -> None:
    site = made_site.calibration()
    odds = site.look_odds(np.array(sorted((one, other))), np.array([[exemplars, 0, 0, 0]] * 2), place=1)
    assert odds[0] <= odds[1] + 1e-9


def test_a_similarity_to_many_tracklets_tells_as_much_as_one_of_many() -> None:
    site = made_site.calibration()
    alike, four, one = np.array([0.9]), np.array([[4, 0, 0, 0]]), np.array([[1, 0, 0, 0]])
    assert site.look_odds(alike, one, place=1, others=4.0) == site.look_odds(alike, four, place=1)
    assert site.look_odds(alike, four, place=1, others=4.0) > site.look_odds(alike, four, place=1)


def test_a_similarity_counts_against_the_strangers_of_the_cameras_that_the_exemplars_are_of() -> None:
    curves = LookPrior().curves
    site = made_site.calibration(("gate", "hall"), curves=curves)
    means, deviations = np.zeros((3, 3)), np.full((3, 3), 0.1)
    means[0, 1], deviations[1, 1] = 0.3, 0.2
    site = replace(site, strangers_mean=means, strangers_deviation=deviations)
    exemplars = np.array([[1, 0, 0], [0, 1, 0]])
    from_gate, from_hall = site.look_odds(np.array([0.5, 0.5]), exemplars, place=1)
    # (0.5 - 0.3) / 0.1 = 2.0 deviations, and 0.5 / 0.2 = 2.5; the curve rises by 2 for each from even odds at 2.
    assert (from_gate, from_hall) == (pytest.approx(0.0), pytest.approx(1.0))
    (both,) = site.look_odds(np.array([0.5]), np.array([[1, 1, 0]]), place=1)
    score = (0.5 - 0.15) / 0.15
    growth = 1.2 ** np.log2(2)
    expected = 0.5 * 2.0 * (score - 2.0) + 0.5 * 2.0 * growth**2 * (score - 2.0 * (1 + 0.4 * np.log(growth**2)))
    assert both == pytest.approx(expected, abs=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 50), st.floats(0.0, 1.0), st.integers(1, 12))
def test_whoever_is_less_alike_than_the_least_is_rather_two_than_one(seed: int, less: float, others: int) -> None:
    known = taught(*seen_by_cameras(seed, persons=20, cast=1.0))
    rng = np.random.default_rng(seed)
    exemplars = rng.integers(0, 5, (40, 3))
    exemplars[:, 0] += 1
    assert known.least_alike > 0.0
    odds = known.look_odds(np.full(40, known.least_alike - less), exemplars, rng.integers(0, 3, 40), float(others))
    assert (odds < 0.0).all()
