"""Overlap and suppression, against naive loops."""

from __future__ import annotations

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from pipeline.boxes import areas, overlaps, suppress
from pipeline.contracts import F64


@st.composite
def boxes(draw: st.DrawFn, max_boxes: int = 12) -> F64:
    count = draw(st.integers(0, max_boxes))
    values = draw(arrays.arrays(np.float64, (count, 4), elements=st.integers(1, 60)))
    return np.hstack([values[:, :2], values[:, :2] + values[:, 2:]])


def naive_overlap(a: F64, b: F64) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union


@given(boxes(), boxes())
def test_overlap_is_that_of_a_naive_loop(first: F64, second: F64) -> None:
    expected = np.array([[naive_overlap(a, b) for b in second] for a in first]).reshape(len(first), len(second))
    assert overlaps(first, second) == pytest.approx(expected)


@given(boxes(), st.floats(0.1, 0.9), st.integers(0, 2**32 - 1))
def test_suppression_is_that_of_a_naive_loop(found: F64, max_overlap: float, seed: int) -> None:
    scores = np.random.default_rng(seed).permutation(len(found)) / 100
    kept: list[int] = []
    for index in np.argsort(-scores):
        if all(naive_overlap(found[index], found[other]) <= max_overlap for other in kept):
            kept.append(int(index))
    assert suppress(found, scores, max_overlap).tolist() == kept


def test_a_box_turned_inside_out_has_no_area_and_no_overlap() -> None:
    inside_out = np.array([[10.0, 10.0, 5.0, 20.0]])
    assert areas(inside_out).tolist() == [0.0]
    assert overlaps(inside_out, np.array([[0.0, 0.0, 30.0, 30.0]])).tolist() == [[0.0]]
