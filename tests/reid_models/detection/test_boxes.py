"""Boxes of the network's cells, and how they overlap."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.boxes import overlaps
from reid_models.detection.boxes import cells, decode, generalised_overlap, pairwise_overlaps
from reid_models.detection.network import STRIDES

sides = st.floats(0, 100, width=32)


@st.composite
def some_boxes(draw: st.DrawFn) -> torch.Tensor:
    corners = [draw(st.tuples(sides, sides, sides, sides)) for _ in range(draw(st.integers(1, 4)))]
    return torch.tensor([(min(x, u), min(y, v), max(x, u) + 1, max(y, v) + 1) for x, y, u, v in corners])


def test_every_cell_decodes_as_a_naive_loop_says() -> None:
    height, width = 64, 96
    outputs = torch.randn(
        2, sum(height // s * (width // s) for s in STRIDES), 5, generator=torch.Generator().manual_seed(1)
    )
    boxes = decode(outputs, height, width)
    for picture in range(2):
        cell = 0
        for stride in STRIDES:
            for row in range(height // stride):
                for column in range(width // stride):
                    dx, dy, log_width, log_height = outputs[picture, cell, :4].tolist()
                    x, y = (column + dx) * stride, (row + dy) * stride
                    half_width, half_height = math.exp(log_width) * stride / 2, math.exp(log_height) * stride / 2
                    expected = (x - half_width, y - half_height, x + half_width, y + half_height)
                    assert boxes[picture, cell].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-3)
                    cell += 1
        assert cell == boxes.shape[1]


def test_an_untrained_size_does_not_overflow() -> None:
    outputs = torch.full((1, len(cells(32, 32)[0]), 5), 500.0)
    assert torch.isfinite(decode(outputs, 32, 32)).all()


@given(some_boxes(), some_boxes())
def test_overlaps_of_tensors_are_those_of_arrays(first: torch.Tensor, second: torch.Tensor) -> None:
    expected = overlaps(first.double().numpy(), second.double().numpy())
    np.testing.assert_allclose(pairwise_overlaps(first, second).numpy(), expected, atol=1e-5)


@given(some_boxes())
def test_a_box_has_the_greatest_generalised_overlap_with_itself(boxes: torch.Tensor) -> None:
    np.testing.assert_allclose(generalised_overlap(boxes, boxes).numpy(), 1, atol=1e-5)


@given(some_boxes(), some_boxes())
def test_generalised_overlap_is_the_overlap_less_the_empty_share_around(
    first: torch.Tensor, second: torch.Tensor
) -> None:
    a, b = first[0].tolist(), second[0].tolist()
    around = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    found = generalised_overlap(first[:1], second[:1]).item()
    assert found == pytest.approx(shared / union - (around - union) / around, abs=1e-4)
