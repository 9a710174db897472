"""What speaks for a known person: shares of probability, and the board that is kept while a batch is decided."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.contracts import F64, GlobalId
from pipeline.matching.assignment import arrivals_of
from pipeline.matching.evidence import (
    LOOK_LIMIT,
    TIME_LIMIT,
    WALK_LIMIT,
    Arrival,
    Board,
    Candidates,
    believed,
    highest,
    probabilities,
    rounded,
)
from tests.fakes import embedding, unit_vectors
from tests.pipeline.matching.made_site import calibration, nobody

LOOKS = unit_vectors(np.random.default_rng(1), 4)
SITE = calibration(("gate", "hall"))
odds_of_some = arrays.arrays(np.float64, st.integers(0, 6), elements=st.floats(-40.0, 40.0))


def arrivals() -> list[Arrival]:
    """Four people, one after another; the last is two pieces before an unknown camera."""
    seen = [("gate", 0, 0.0), ("hall", 0, 10.0), ("gate", 0, 20.0), ("roof", 0, 30.0), ("roof", 1, 35.0)]
    return arrivals_of(
        [
            embedding(camera, min(place, 3), piece, started_at=at, ended_at=at + 4.0, vector=LOOKS[min(place, 3)])
            for place, (camera, piece, at) in enumerate(seen)
        ]
    )


def one_known(similarities: list[float], exemplars: list[int], seen_at: float = -60.0) -> Candidates:
    table = np.array(similarities)[:, None]
    hall = np.array([1])
    return Candidates(np.array([7]), ["hall"], hall, np.array([seen_at]), np.array([exemplars]), table, known=1)


@given(odds_of_some)
def test_the_shares_of_all_and_of_somebody_new_are_one(odds: F64) -> None:
    shares, new = probabilities(odds)
    assert shares.sum() + new == pytest.approx(1.0)
    assert new > 0 and (shares >= 0).all()
    np.testing.assert_allclose(np.log(np.maximum(shares, 1e-300)) - np.log(new), odds, atol=1e-6)


def test_whoever_is_impossible_has_no_share_and_nobody_possible_means_somebody_new() -> None:
    shares, new = probabilities(np.array([[-np.inf, 0.0], [-np.inf, -np.inf]]))
    np.testing.assert_allclose(shares, [[0.0, 0.5], [0.0, 0.0]])
    np.testing.assert_allclose(new, [0.5, 1.0])


def test_nobody_known_means_somebody_new() -> None:
    assert probabilities(np.zeros(0))[1] == 1.0


@given(st.floats(300.0, 1e6))
def test_overwhelming_odds_stay_probabilities(odds: float) -> None:
    shares, new = probabilities(np.array([odds, odds, -odds]))
    np.testing.assert_allclose(shares, [0.5, 0.5, 0.0], atol=1e-12)
    assert new < 1e-12


def test_similarities_are_compared_without_their_last_bits() -> None:
    exact = np.float32(0.73216)
    assert rounded(np.array([exact]))[0] == rounded(np.array([np.nextafter(exact, np.float32(1.0))]))[0] == 0.7322


def test_a_similarity_is_the_mean_over_known_exemplars_and_those_of_this_batch() -> None:
    board = Board(arrivals(), one_known([0.2, 0.5, 0.4, 0.8], exemplars=[2, 1, 0]), SITE)
    board.join(1, GlobalId(7))
    board.join(3, GlobalId(7))
    found = board.weigh([0]).similarities[0]
    expected = (3 * 0.2 + LOOKS[0] @ LOOKS[1] + 2 * (LOOKS[0] @ LOOKS[3])) / 6
    np.testing.assert_allclose(found, [expected], atol=2e-3)


def test_who_was_opened_in_this_batch_is_known_to_the_rest_of_it() -> None:
    board = Board(arrivals(), nobody(4, cameras=2), SITE)
    assert len(board.global_ids) == 0 and board.weigh([0]).odds.shape == (1, 0)
    board.join(0, GlobalId(3))
    board.join(1, GlobalId(9))
    assert board.global_ids.tolist() == [3, 9]
    np.testing.assert_allclose(board.weigh([2]).similarities, [LOOKS[2] @ LOOKS[:2].T], atol=2e-3)


def test_gaps_count_from_the_last_sighting_and_an_earlier_one_does_not_set_them_back() -> None:
    board = Board(arrivals(), one_known([0.5] * 4, [1, 0, 0], seen_at=12.0), SITE)
    assert board.weigh([2]).gaps_s == [[8.0]]
    board.join(0, GlobalId(7))
    assert board.weigh([2]).gaps_s == [[8.0]]
    board.join(1, GlobalId(7))
    assert board.weigh([2]).gaps_s == [[6.0]]
    (told,) = board.told(board.weigh([2]).of(0), np.array([0.5]), [0], {})
    assert (told.global_id, told.camera_id, told.gap_s, told.constraint) == (7, "hall", 6.0, None)


def test_a_camera_that_the_calibration_does_not_know_is_told_by_its_name() -> None:
    board = Board(arrivals(), nobody(4, cameras=2), SITE)
    board.join(3, GlobalId(7))
    (told,) = board.told(board.weigh([0]).of(0), np.array([0.5]), [0], {0: "a reason"})
    assert (told.camera_id, told.constraint) == ("roof", "a reason")


@given(st.floats(-1.0, 1.0), st.floats(-1e8, 1e8))
def test_neither_looks_nor_times_are_believed_without_limit(similarity: float, seen_at: float) -> None:
    weights = Board(arrivals(), one_known([similarity] * 4, [9, 9, 0], seen_at), SITE).weigh([0]).of(0)
    assert abs(weights.looks[0]) <= LOOK_LIMIT and abs(weights.transits[0]) <= TIME_LIMIT
    assert weights.odds[0] == weights.looks[0] + weights.transits[0]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5), st.integers(0, 1_000_000), st.integers(0, 1_000_000))
def test_a_bad_time_speaks_less_against_one_of_few(transits: list[float], one: int, other: int) -> None:
    few, many = (believed(np.array(transits), known) for known in sorted((one, other)))
    assert (many <= few).all() and (few <= TIME_LIMIT).all()
    assert (few >= np.minimum(transits, TIME_LIMIT)).all()
    assert (many >= -WALK_LIMIT).all()  # or whoever is opened would be merged after the next look


def crowd(similarities: F64) -> Candidates:
    """People seen before the hall, one exemplar each; (N, C) of arrivals and them."""
    count = similarities.shape[1]
    exemplars = np.repeat([[0, 1, 0]], count, axis=0)
    hall, seen_at = np.ones(count, np.int64), np.linspace(-500.0, 0.0, count)
    return Candidates(np.arange(1, count + 1), ["hall"] * count, hall, seen_at, exemplars, similarities, known=count)


def joined(board: Board) -> Board:
    """Somebody known, somebody new, and the first again."""
    for arrival, global_id in ((0, 3), (1, 999), (2, 3)):
        board.join(arrival, GlobalId(global_id))
    return board


@given(st.integers(1, 300), st.integers(0, 99))
def test_arrivals_are_weighed_together_as_each_alone_and_late_as_early(count: int, seed: int) -> None:
    candidates = crowd(np.random.default_rng(seed).normal(0.1, 0.1, (4, count)).round(2))
    early = Board(arrivals(), candidates, SITE)
    early.weigh([3, 2])  # before anybody is joined
    together = joined(early).weigh([2, 3])
    for row, arrival in enumerate((2, 3)):
        alone = joined(Board(arrivals(), candidates, SITE)).weigh([arrival]).of(0)
        np.testing.assert_array_equal(together.of(row).odds, alone.odds)
        np.testing.assert_array_equal(together.of(row).gaps_s, alone.gaps_s)


def test_only_those_most_alike_are_weighed_and_of_equals_all() -> None:
    alike = np.sort(np.random.default_rng(2).permutation(1000)[None] / 1000.0)
    alike[:, 850:880] = alike[:, 872]  # the 128th is one of thirty equals
    weights = Board(arrivals(), crowd(np.repeat(alike, 4, axis=0)), SITE).weigh([0]).of(0)
    assert (weights.looks[:850] == -LOOK_LIMIT).all() and (weights.transits[:850] == 0.0).all()
    assert (weights.transits[850:] != 0.0).all()


@given(
    arrays.arrays(np.float64, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(-2, 2)),
    st.integers(1, 5),
)
def test_the_highest_come_first_and_of_equals_the_first(values: F64, count: int) -> None:
    expected = np.argsort(-values, axis=1, kind="stable")[:, :count]
    assert highest(values, count).tolist() == expected.tolist()
    assert highest(values[:, :0], count).shape == (len(values), 0)


def test_an_empty_batch_has_a_board() -> None:
    assert len(Board([], nobody(0, cameras=2), SITE).global_ids) == 0
