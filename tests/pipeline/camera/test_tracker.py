"""The tracker on scripted walks: identity, time, gaps, crossings and furniture."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from pipeline.camera.tracker import ByteTracker, TrackerConfig
from pipeline.contracts import Detections, EarlierBox, Tracks


def person(x: float, y: float, score: float = 0.9, height: float = 100.0) -> tuple[float, float, float, float, float]:
    """A box by its centre, with its score."""
    return (x - height * 0.2, y - height / 2, x + height * 0.2, y + height / 2, score)


def seen(*rows: tuple[float, float, float, float, float]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4])


def number_at(tracks: Tracks, x: float, y: float) -> int:
    """The track whose centre is within 20 px of a place."""
    centres = (tracks.boxes[:, :2] + tracks.boxes[:, 2:]) / 2
    (near,) = np.flatnonzero(np.hypot(centres[:, 0] - x, centres[:, 1] - y) < 20)
    return int(tracks.track_ids[near])


def crowd(seed: int, frames: int, persons: int) -> list[Detections]:
    rng = np.random.default_rng(seed)
    place, step = rng.uniform(0, 600, (persons, 2)), rng.normal(0, 4, (persons, 2))
    found = []
    for _ in range(frames):
        place = place + step
        rows = [person(x, y, s) for (x, y), s in zip(place, rng.uniform(0.05, 1, persons), strict=True)]
        found.append(seen(*(row for row in rows if rng.random() > 0.1)))
    return found


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12))
def test_no_number_is_told_twice_in_a_frame_and_boxes_have_area(seed: int, persons: int) -> None:
    tracker = ByteTracker()
    for index, found in enumerate(crowd(seed, 30, persons)):
        tracks = tracker.update(found, index / 10)
        assert len(set(tracks.track_ids.tolist())) == len(tracks) <= len(found)
        assert (tracks.boxes[:, 2:] > tracks.boxes[:, :2]).all()
        assert np.isfinite(tracks.boxes).all()


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_detections_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = ByteTracker(), ByteTracker()
    for index, found in enumerate(crowd(seed, 30, 8)):
        shuffled = rng.permutation(len(found))
        a = first.update(found, index / 10)
        b = second.update(Detections(found.boxes[shuffled], found.scores[shuffled]), index / 10)
        assert np.array_equal(a.track_ids, b.track_ids)
        assert np.array_equal(a.boxes, b.boxes)


def test_people_who_cross_keep_their_numbers() -> None:
    tracker = ByteTracker()
    for index in range(60):
        right, left = 100 + 8 * index, 572 - 8 * index
        tracks = tracker.update(seen(person(right, 200), person(left, 230)), index / 10)
        if index == 5:
            before = number_at(tracks, right, 200), number_at(tracks, left, 230)
    assert (number_at(tracks, right, 200), number_at(tracks, left, 230)) == before


@pytest.mark.parametrize("fps", [4.0, 10.0, 25.0])
def test_someone_behind_a_pillar_for_a_second_is_the_same_person_at_any_frame_rate(fps: float) -> None:
    tracker = ByteTracker()
    told: set[int] = set()
    for index in range(int(6 * fps)):
        now = index / fps
        is_hidden = 3.0 <= now < 4.0
        tracks = tracker.update(seen() if is_hidden else seen(person(100 + 60 * now, 200)), now)
        assert len(tracks) == 0 or not is_hidden
        told.update(tracks.track_ids.tolist())
    assert len(told) == 1


def test_someone_away_for_longer_than_the_patience_is_a_new_track() -> None:
    tracker = ByteTracker()
    first = [tracker.update(seen(person(100, 200)), index / 10) for index in range(10)][-1]
    patience_s = TrackerConfig().lost_s
    again = [tracker.update(seen(person(100, 200)), 1 + patience_s + index / 10) for index in range(3)][-1]
    assert len(first) == len(again) == 1
    assert first.track_ids[0] != again.track_ids[0]


def test_a_person_dimmed_by_an_obstacle_is_followed_through_unsure_boxes() -> None:
    tracker = ByteTracker()
    for index in range(10):
        before = tracker.update(seen(person(100 + 8 * index, 200)), index / 10)
    for index in range(10, 20):
        after = tracker.update(seen(person(100 + 8 * index, 200, score=0.2)), index / 10)
    assert after.track_ids.tolist() == before.track_ids.tolist()


def test_unsure_boxes_alone_open_no_track() -> None:
    tracker = ByteTracker()
    assert all(len(tracker.update(seen(person(100 + i, 200, score=0.4)), i / 10)) == 0 for i in range(20))


def test_a_flash_of_one_frame_is_not_told() -> None:
    tracker = ByteTracker()
    tracker.update(seen(), 0.0)
    assert len(tracker.update(seen(person(100, 200)), 0.1)) == 0
    assert len(tracker.update(seen(), 0.2)) == 0


def test_a_doubtful_box_is_told_only_once_it_has_moved() -> None:
    doubtful = TrackerConfig().trusted_score - 0.04
    still, walking = ByteTracker(), ByteTracker()
    for index in range(40):
        lamp = still.update(seen(person(300, 200, doubtful)), index / 10)
        shadow = walking.update(seen(person(100 + 6 * index, 200, doubtful)), index / 10)
    assert len(lamp) == 0
    assert len(shadow) == 1


def test_a_second_box_on_the_same_person_opens_no_track() -> None:
    tracker = ByteTracker()
    for index in range(10):
        rows = [person(100 + 5 * index, 200)] + ([person(108 + 5 * index, 204, 0.8)] if index > 3 else [])
        tracks = tracker.update(seen(*rows), index / 10)
    assert len(tracks) == 1


def test_a_frame_from_the_past_counts_as_taken_now() -> None:
    tracker = ByteTracker()
    before = [tracker.update(seen(person(100, 200)), index / 10) for index in range(5)][-1]
    after = tracker.update(seen(person(100, 200)), -100.0)
    assert after.track_ids.tolist() == before.track_ids.tolist()
    assert np.isfinite(after.boxes).all()


def test_without_smoothing_the_boxes_told_are_the_detections() -> None:
    tracker = ByteTracker(replace(TrackerConfig(), smoothing=0.0))
    for index in range(5):
        found = seen(person(100 + 5 * index, 200))
        tracks = tracker.update(found, index / 10)
    assert tracks.boxes == pytest.approx(found.boxes, abs=1e-3)


def walked_in(*scores: float, fps: int = 5) -> list[Tracks]:
    """Somebody comes in from the left, seen with these scores one frame after the other."""
    tracker = ByteTracker()
    tracker.update(seen(), 0.0)
    return [tracker.update(seen(person(20 + 40 * i / fps, 200, s)), (i + 1) / fps) for i, s in enumerate(scores)]


def test_a_track_that_is_told_tells_where_it_was_before_nearest_first() -> None:
    *silent, told, after = walked_in(0.2, 0.3, 0.7, 0.8, 0.8)
    assert [len(tracks) for tracks in silent] == [0, 0, 0]
    assert [box.captured_at for box in told.earlier] == pytest.approx([0.6, 0.4, 0.2])
    assert {box.track_id for box in told.earlier} == set(told.track_ids.tolist())
    assert [(box.box[0] + box.box[2]) / 2 for box in told.earlier] == pytest.approx([36, 28, 20])
    assert [box.score for box in told.earlier] == pytest.approx([0.7, 0.3, 0.2])
    assert not after.earlier


def test_a_beginning_goes_back_a_second_and_not_over_a_gap() -> None:
    *_, told = walked_in(*[0.3] * 14, 0.8, 0.8, fps=8)
    assert [box.captured_at for box in told.earlier][-1] == 1.0
    *_, told = walked_in(0.3, 0.3, 0.05, 0.05, 0.05, 0.8, 0.8, fps=10)
    assert len(told.earlier) == 1


def test_a_second_box_on_somebody_who_is_told_is_nobodys_beginning() -> None:
    tracker = ByteTracker()
    earlier: list[EarlierBox] = []
    for index in range(12):
        x = 100 + 6 * index
        beside = [person(x + 8, 200, 0.3)] if index < 8 else [person(x + 90, 200)]
        earlier += tracker.update(seen(person(x, 200), *beside), index / 10).earlier
    assert [box.captured_at for box in earlier] == [0.8]  # the first box of the second one alone


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_no_box_is_told_for_two_tracks_nor_two_of_one_moment_for_one(seed: int) -> None:
    tracker, said = ByteTracker(), set()
    for index, found in enumerate(crowd(seed, 30, 8)):
        tracks = tracker.update(found, index / 10)
        moments = [(index / 10, int(number)) for number in tracks.track_ids]
        moments += [(box.captured_at, box.track_id) for box in tracks.earlier]
        assert len({*moments}) == len(moments) and not said & {*moments}
        assert all(box.captured_at < index / 10 for box in tracks.earlier)
        said |= {*moments}


def test_a_second_frame_of_one_moment_with_fewer_boxes_is_taken() -> None:
    tracker = ByteTracker()
    for index in range(5):
        tracker.update(seen(*(person(100 + 80 * place + index, 200) for place in range(6))), index / 10)
    tracks = tracker.update(seen(person(105, 200)), 0.3)
    assert len(set(tracks.track_ids.tolist())) == len(tracks)
