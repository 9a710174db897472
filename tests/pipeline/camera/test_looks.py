"""How people look, and what the tracker makes of it where boxes alone mislead."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from pipeline.camera.looks import LookConfig, TrackLooks, describe, difference
from pipeline.camera.tracker import ByteTracker
from pipeline.contracts import F64, Detections, Image

RED, BLUE, GREEN, GREY = (180, 40, 40), (40, 40, 180), (40, 150, 60), (110, 110, 110)
SURE = np.array([0.9])

images = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(0, 256, (60, 80, 3)).astype(np.uint8)
)
boxes_of = st.lists(st.tuples(*[st.floats(-100, 200)] * 4), max_size=5).map(lambda b: np.array(b).reshape(-1, 4))


def box(x: float, y: float, height: float = 100.0) -> tuple[float, float, float, float]:
    return (x - height * 0.2, y - height / 2, x + height * 0.2, y + height / 2)


def scene(*people: tuple[tuple[float, float, float, float], tuple[int, int, int]]) -> Image:
    """People of one colour before a grey wall, from far to near."""
    picture = np.full((400, 700, 3), GREY, np.uint8)
    for (x1, y1, x2, y2), colour in people:
        picture[max(int(y1), 0) : max(int(y2), 0), max(int(x1), 0) : max(int(x2), 0)] = colour
    return picture


def found(*boxes: tuple[float, float, float, float]) -> Detections:
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32))


def look(colour: tuple[int, int, int]) -> F64:
    where = box(100, 200)
    return describe(scene((where, colour)), np.array([where]), SURE).colours


@settings(max_examples=50)
@given(images, boxes_of)
def test_wherever_boxes_lie_bands_are_shares_or_hidden(image: Image, boxes: F64) -> None:
    looks = describe(image, boxes, np.full(len(boxes), 0.9))
    sums = looks.colours.sum(axis=2)
    assert np.all(np.isclose(sums, 3.0) | (sums == 0.0))
    assert np.all((looks.visible >= 0) & (looks.visible <= 1) & (looks.covered >= 0))
    apart = difference(looks.colours, looks.colours)
    assert np.all((apart >= 0) & (apart <= 1)) and apart == pytest.approx(apart.T)


@given(images)
def test_a_picture_is_left_as_it_was(image: Image) -> None:
    before = image.copy()
    describe(image, np.array([[10.0, 5.0, 40.0, 55.0]]), SURE)
    assert np.array_equal(image, before)


def test_the_same_colour_is_alike_and_another_is_not() -> None:
    config = LookConfig()
    assert difference(look(RED), look(RED))[0, 0] < config.alike
    assert difference(look(RED), look(BLUE))[0, 0] > config.different


def test_half_a_person_behind_a_sign_is_still_alike() -> None:
    where = box(100, 200)
    picture = scene((where, RED), ((70, 165, 130, 200), GREEN))
    behind = describe(picture, np.array([where]), SURE).colours
    assert difference(look(RED), behind)[0, 0] < LookConfig().alike


def test_what_a_nearer_person_hides_does_not_count() -> None:
    far, near = box(100, 200), box(115, 220)
    picture = scene((far, RED), (near, BLUE))
    looks = describe(picture, np.array([far, near]), np.full(2, 0.9))
    assert looks.visible[0] < looks.visible[1] == 1.0
    assert looks.covered[0] > 0.3
    assert difference(look(RED), looks.colours[:1])[0, 0] < LookConfig().alike


def test_a_look_is_not_learnt_before_or_behind_others_and_then_says_nothing() -> None:
    far, near = box(100, 200), box(110, 210)
    together = describe(scene((far, RED), (near, BLUE)), np.array([far, near]), np.full(2, 0.9))
    memory = TrackLooks(LookConfig())
    memory.append(together, 2)
    for _ in range(5):
        memory.learn(np.arange(2), together, np.full(2, 0.1))
    assert not memory.unlikeness(together, 2).any()
    assert not memory.unlikeness(None, 2).any()


def test_who_comes_in_where_another_went_out_is_a_new_track() -> None:
    """By their boxes alone the two are one person who stopped."""
    with_pictures, boxes_alone = ByteTracker(), ByteTracker()
    told: set[int] = set()
    told_alone: set[int] = set()
    for index in range(40):
        where = box(100 + 10 * min(index, 20), 200) if index < 20 else box(300 - 4 * (index - 20), 205)
        picture = scene((where, RED if index < 20 else BLUE))
        told.update(with_pictures.update(found(where), index / 10, picture).track_ids.tolist())
        told_alone.update(boxes_alone.update(found(where), index / 10).track_ids.tolist())
    assert (len(told), len(told_alone)) == (2, 1)


@pytest.mark.parametrize("fps", [5.0, 10.0, 25.0])
def test_two_who_meet_hidden_by_one_another_and_turn_back_keep_their_numbers(fps: float) -> None:
    """Their speeds say that they pass; only their colours tell that they do not."""
    tracker = ByteTracker()
    numbers: list[dict[str, int]] = []
    for index in range(int(8 * fps)):
        now = index / fps
        away = 30 * abs(now - 4.0)
        far, near = box(300 - away, 200), box(300 + away, 204)
        seen = found(near) if away < 20 else found(far, near)
        tracks = tracker.update(seen, now, scene((far, RED), (near, BLUE)))
        if len(tracks) == 2:
            left = int(tracks.boxes[:, 0].argmin())
            numbers.append({"red": int(tracks.track_ids[left]), "blue": int(tracks.track_ids[1 - left])})
    assert numbers[0] == numbers[-1]


def test_without_pictures_in_between_a_track_goes_on() -> None:
    tracker = ByteTracker()
    told: set[int] = set()
    for index in range(20):
        where = box(100 + 5 * index, 200)
        picture = scene((where, RED)) if index % 3 else None
        told.update(tracker.update(found(where), index / 10, picture).track_ids.tolist())
    assert len(told) == 1
