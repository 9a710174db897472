"""Which blobs are persons."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from pipeline.camera.motion import PersonShape, find_persons
from pipeline.contracts import Detections

SHAPE = PersonShape()
HEIGHT_PX = 360


def find(*boxes: tuple[float, float, float, float], fill: float = 0.6) -> Detections:
    table = np.array(boxes, np.float64).reshape(-1, 4)
    area = (table[:, 2] - table[:, 0]) * (table[:, 3] - table[:, 1])
    return find_persons(table, area * fill, HEIGHT_PX, SHAPE)


def test_an_upright_blob_is_a_person() -> None:
    assert find((100, 100, 140, 200)).boxes.tolist() == [[100, 100, 140, 200]]


@pytest.mark.parametrize(
    "box",
    [(100, 100, 104, 110), (100, 100, 600, 140), (100, 100, 110, 200)],
    ids=["speck", "car", "pole"],
)
def test_other_shapes_are_not(box: tuple[float, float, float, float]) -> None:
    assert len(find(box)) == 0


def test_a_sparse_blob_is_noise() -> None:
    assert len(find((100, 100, 140, 200), fill=0.1)) == 0


def test_head_and_body_become_one_person() -> None:
    assert find((110, 100, 130, 125), (100, 130, 140, 200)).boxes.tolist() == [[100, 100, 140, 200]]


def test_two_people_above_one_another_stay_two() -> None:
    assert len(find((100, 20, 140, 120), (100, 200, 140, 300))) == 2


def test_two_people_side_by_side_are_parted() -> None:
    found = find((100, 100, 184, 200))
    assert sorted(found.boxes.tolist()) == [[100, 100, 142, 200], [142, 100, 184, 200]]


def test_who_is_cut_off_by_the_lower_border_is_not_parted() -> None:
    assert len(find((100, HEIGHT_PX - 60, 180, HEIGHT_PX))) == 0


def test_no_blobs_no_persons() -> None:
    assert len(find()) == 0


@given(st.lists(st.tuples(*[st.integers(0, 300)] * 2, *[st.integers(1, 120)] * 2), max_size=12))
def test_scores_are_shares_and_boxes_have_area(blobs: list[tuple[int, int, int, int]]) -> None:
    found = find(*((x, y, x + width, y + height) for x, y, width, height in blobs))
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
