"""Ranking people: fair, deterministic, and not to be carried by one lucky crop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import F32, BlobKey, CameraId, GlobalId, TrackletId
from pipeline.kept import Sighting
from pipeline.search.query import (
    Ask,
    Calibration,
    Candidate,
    Filters,
    Rows,
    best_crops,
    better_half,
    centre,
    last_seen_first,
    rank,
    widened,
)

CALIBRATION = Calibration(slope=10.0, intercept=-5.0, threshold=0.5)
AXIS = np.array([1.0, 0.0], np.float32)


def rows(
    *seen: tuple[int, float], cameras: list[str] | None = None, spans: list[tuple[float, float]] | None = None
) -> Rows:
    """One row for each (identity, similarity to `AXIS`)."""
    cameras = cameras or ["gate"] * len(seen)
    spans = spans or [(float(place), place + 1.0) for place in range(len(seen))]
    names = sorted(set(cameras))
    return Rows(
        vectors=np.array([[s, math.sqrt(1.0 - s * s)] for _, s in seen], np.float32).reshape(-1, 2),
        global_ids=np.array([global_id for global_id, _ in seen], np.int64),
        cameras=np.array([names.index(camera) for camera in cameras], np.int64),
        started_at=np.array([start for start, _ in spans], np.float64),
        ended_at=np.array([end for _, end in spans], np.float64),
        tracklet_ids=[TrackletId(f"t{place}") for place in range(len(seen))],
        camera_ids=tuple(CameraId(name) for name in names),
    )


def ranked(archive: Rows, filters: Filters | None = None) -> list[Candidate]:
    return rank(Ask.alike(AXIS, filters or Filters(), CALIBRATION), archive).candidates


def found(candidates: list[Candidate]) -> list[int]:
    return [candidate.global_id for candidate in candidates]


similarities = st.floats(-1.0, 1.0, width=32)
seen_people = st.lists(st.tuples(st.integers(1, 6), similarities), max_size=40)


def naive_score(values: list[float]) -> float:
    count = max(math.ceil(len(values) / 2), min(len(values), 3))
    return sum(sorted(values, reverse=True)[:count]) / count


@given(seen_people)
def test_the_score_is_the_mean_of_the_better_half(seen: list[tuple[int, float]]) -> None:
    expected = {who: naive_score([s for other, s in seen if other == who]) for who, _ in seen}
    candidates = ranked(rows(*seen))
    assert {c.global_id: c.similarity for c in candidates} == pytest.approx(expected, abs=1e-4)
    assert [c.similarity for c in candidates] == sorted((c.similarity for c in candidates), reverse=True)


@given(seen_people, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(seen: list[tuple[int, float]], random: object) -> None:
    shuffled = list(seen)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    before, after = (ranked(rows(*some)) for some in (seen, shuffled))
    assert [(c.global_id, c.similarity) for c in before] == [(c.global_id, c.similarity) for c in after]


@given(st.lists(st.integers(1, 50), min_size=2, max_size=30, unique=True))
def test_equals_are_ordered_by_number(people: list[int]) -> None:
    assert found(ranked(rows(*((who, 0.6) for who in people)))) == sorted(people)


def test_one_lucky_crop_does_not_beat_a_person_who_always_fits() -> None:
    lucky = [(1, 0.95), *((1, 0.2) for _ in range(9))]
    steady = [(2, 0.7) for _ in range(10)]
    assert found(ranked(rows(*lucky, *steady))) == [2, 1]


def test_occluded_crops_do_not_pull_a_person_down() -> None:
    candidates = ranked(rows(*((1, s) for s in (0.8, 0.8, 0.8, 0.8, -0.5, 0.0, 0.1))))
    assert candidates[0].similarity == pytest.approx(0.8, abs=1e-4)
    assert set(candidates[0].tracklet_ids) == {"t0", "t1", "t2", "t3"}


@given(st.integers(1, 1000))
def test_the_better_half_is_never_empty_and_grows_with_what_there_is(count: int) -> None:
    half, next_half = better_half(np.array([count, count + 1]))
    assert 1 <= half <= count and half <= next_half <= half + 1


@given(st.lists(similarities, max_size=20))
def test_probabilities_follow_the_similarities_and_leave_room_for_nobody(values: list[float]) -> None:
    probabilities = CALIBRATION.probabilities(np.sort(np.array(values, np.float64)))
    assert (np.diff(probabilities) >= 0.0).all() and (probabilities >= 0.0).all()
    assert probabilities.sum() < 1.0


@given(similarities, st.integers(1, 50))
def test_the_same_similarity_means_less_among_many(similarity: float, others: int) -> None:
    alone, among = (CALIBRATION.probabilities(np.full(count, similarity))[0] for count in (1, 1 + others))
    assert among < alone


def test_a_lone_person_has_the_probability_of_the_curve() -> None:
    assert CALIBRATION.probabilities(np.array([0.7])) == pytest.approx([1 / (1 + math.exp(-2.0))])


def test_whoever_is_far_less_probable_than_the_first_is_no_match() -> None:
    candidates = ranked(rows((1, 0.99), (2, 0.95), (3, 0.6)))
    assert [c.is_confident for c in candidates] == [True, True, False]


def test_below_the_threshold_nobody_is_a_match() -> None:
    candidates = ranked(rows((1, 0.49), (2, 0.51)))
    assert [(c.global_id, c.is_confident) for c in candidates] == [(2, True), (1, False)]


def test_filters_choose_tracklets_by_camera_and_overlap_in_time() -> None:
    archive = rows((1, 0.9), (2, 0.8), (3, 0.7), cameras=["gate", "hall", "yard"], spans=[(0, 10), (20, 30), (40, 50)])

    def people(filters: Filters) -> list[int]:
        assert sorted(last_seen_first(archive, filters)) == sorted(found(ranked(archive, filters)))
        return found(ranked(archive, filters))

    assert people(Filters(camera_ids=frozenset({CameraId("hall"), CameraId("yard")}))) == [2, 3]
    assert people(Filters(camera_ids=frozenset({CameraId("attic")}))) == []
    assert people(Filters(since_at=30.0)) == [2, 3]
    assert people(Filters(until_at=20.0)) == [1, 2]
    assert people(Filters(since_at=11.0, until_at=19.0)) == []


def test_the_shortest_time_in_view_counts_all_tracklets_inside_the_filters() -> None:
    archive = rows((1, 0.9), (1, 0.9), (2, 0.8), spans=[(0, 4), (10, 14), (0, 7)])
    assert found(ranked(archive, Filters(shortest_s=8.0))) == [1]
    assert last_seen_first(archive, Filters(shortest_s=8.0)) == [1]
    assert found(ranked(archive, Filters(shortest_s=8.0, since_at=9.0))) == []


def test_an_empty_archive_has_no_answer() -> None:
    assert ranked(rows()) == []
    assert last_seen_first(rows(), Filters()) == []


def test_the_person_seen_last_comes_first() -> None:
    archive = rows((1, 0.0), (2, 0.0), (1, 0.0), (3, 0.0), spans=[(0, 10), (20, 30), (40, 50), (20, 30)])
    assert last_seen_first(archive, Filters()) == [GlobalId(1), GlobalId(2), GlobalId(3)]


def test_the_centre_is_a_direction() -> None:
    vectors: F32 = np.eye(4, dtype=np.float32)[:2]
    assert np.linalg.norm(centre(vectors)) == pytest.approx(1.0)
    assert np.isfinite(centre(np.stack([vectors[0], -vectors[0]]))).all()


def stay(name: str, *crops: str) -> Sighting:
    return Sighting(CameraId("gate"), 0.0, 1.0, (TrackletId(name),), tuple(BlobKey(crop) for crop in crops))


def test_the_crops_shown_are_spread_over_the_sightings_those_that_fit_best_first() -> None:
    route = [stay("t1", "a1", "a2", "a3"), stay("t2"), stay("t3", "c1", "c2"), stay("t4", "d1", "a1")]
    assert best_crops(route, [TrackletId("t4"), TrackletId("t3")], 4) == ("d1", "c1", "a1", "c2")
    assert best_crops(route, [], 99) == ("a1", "c1", "d1", "a2", "c2", "a3")
    assert best_crops([], [], 4) == ()


def test_every_finite_half_keeps_its_value() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    np.testing.assert_array_equal(widened(halves), halves.astype(np.float32))
    np.testing.assert_array_equal(np.signbit(widened(halves)), np.signbit(halves))
