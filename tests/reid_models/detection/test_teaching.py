"""What several teachers say together."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Detections
from reid_models.detection.teaching import TeachingConfig, agree

BOX = (10.0, 10.0, 30.0, 60.0)
CONFIG = TeachingConfig()


def says(*boxes: tuple[float, ...], score: float = 0.8) -> Detections:
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), score, np.float32))


def test_two_teachers_make_a_person_of_the_mean_shape() -> None:
    people, doubtful = agree([says(BOX), says((12.0, 10.0, 32.0, 60.0)), says()], CONFIG)
    np.testing.assert_allclose(people, [[11, 10, 31, 60]])
    assert len(doubtful) == 0


def test_one_teacher_alone_makes_a_doubt() -> None:
    people, doubtful = agree([says(BOX), says()], CONFIG)
    assert len(people) == 0
    np.testing.assert_allclose(doubtful, [BOX])


def test_two_boxes_of_one_teacher_are_one_vote() -> None:
    people, doubtful = agree([says(BOX, (11.0, 10.0, 31.0, 60.0)), says()], CONFIG)
    assert (len(people), len(doubtful)) == (0, 1)


def test_unsure_boxes_do_not_vote() -> None:
    people, doubtful = agree([says(BOX), says(BOX, score=0.2)], CONFIG)
    assert (len(people), len(doubtful)) == (0, 1)


def test_truth_needs_no_second_voice_but_takes_the_shape_of_all() -> None:
    truth = np.array([(10.0, 10.0, 34.0, 64.0)], np.float32)
    alone, _ = agree([says(), says()], CONFIG, truth)
    np.testing.assert_allclose(alone, truth)
    shared, _ = agree([says(BOX), says(BOX)], CONFIG, truth)
    assert len(shared) == 1
    assert 30 < shared[0, 2] < 32


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200), st.floats(0, 1, width=32)), max_size=8))
def test_sure_and_doubtful_people_never_lie_on_one_another(found: list[tuple[int, int, float]]) -> None:
    boxes = np.array([(x, y, x + 20, y + 50) for x, y, _ in found], np.float32).reshape(-1, 4)
    opinion = Detections(boxes, np.array([score for *_, score in found], np.float32))
    people, doubtful = agree([opinion, opinion], CONFIG)
    assert len(people) + len(doubtful) <= len(found)
    assert len(np.unique(people, axis=0)) == len(people)
