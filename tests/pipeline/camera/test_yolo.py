"""Letterbox and layouts, on tensors made by hand."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from pipeline.camera.yolo import Fit, Layout, letterbox, read_persons, recognise
from pipeline.contracts import F32
from pipeline.errors import ConfigurationError

SIZE = (64, 64)  # 64 + 16 + 4 cells
CELLS = 84


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 700), st.integers(8, 500), st.sampled_from(list(Layout)))
def test_a_box_comes_back_from_the_letterbox(width: int, height: int, layout: Layout) -> None:
    _, fit = letterbox(np.zeros((height, width, 3), np.uint8), layout, (416, 320))
    box = np.array([[width * 0.2, height * 0.3, width * 0.7, height * 0.9]], np.float32)
    offset = np.array([fit.left_px, fit.top_px] * 2, np.float32)
    assert fit.to_frame(box * np.float32(fit.scale) + offset) == pytest.approx(box, rel=1e-4, abs=1e-2)


@pytest.mark.parametrize(("layout", "channel", "full"), [(Layout.YOLOX, 2, 255.0), (Layout.YOLOV8, 0, 1.0)])
def test_red_is_where_the_network_expects_it(layout: Layout, channel: int, full: float) -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    tensor, _ = letterbox(red, layout, SIZE)
    assert tensor.shape == (3, 64, 64)
    assert tensor[channel].min() == pytest.approx(full)
    assert np.delete(tensor, channel, axis=0).max() == 0


def test_margins_are_grey_and_only_yolov8_centres() -> None:
    wide = np.zeros((32, 64, 3), np.uint8)
    corner, _ = letterbox(wide, Layout.YOLOX, SIZE)
    centred, fit = letterbox(wide, Layout.YOLOV8, SIZE)
    assert corner[:, :32].max() == 0
    assert corner[:, 32:].min() == corner[:, 32:].max() == 114
    assert centred[:, 16:48].max() == 0
    assert (fit.left_px, fit.top_px) == (0, 16)


def test_layouts_are_told_apart_by_shape() -> None:
    assert recognise((1, CELLS, 85), SIZE) is Layout.YOLOX
    assert recognise((1, 84, 8400), (640, 640)) is Layout.YOLOV8
    for shape in ((1, 1000), (1, 100, 4), (1, 300, 6)):
        with pytest.raises(ConfigurationError, match="expected"):
            recognise(shape, (640, 640))


def yolov8_output(*persons: tuple[float, float, float, float, float]) -> F32:
    output = np.zeros((84, CELLS), np.float32)
    for cell, (x, y, width, height, score) in enumerate(persons):
        output[:5, cell] = x, y, width, height, score
    return output


FIT = Fit(0.5, 0, 16, (128, 64))


def test_yolov8_boxes_are_read_in_frame_pixels_and_clipped() -> None:
    found = read_persons(
        yolov8_output((32, 32, 20, 16, 0.9), (60, 32, 20, 16, 0.8)), Layout.YOLOV8, FIT, SIZE, 0.5, 0.7
    )
    assert found.boxes == pytest.approx(np.array([[44, 16, 84, 48], [100, 16, 128, 48]]))
    assert found.scores == pytest.approx([0.9, 0.8])


def test_weak_and_doubled_boxes_and_other_classes_are_left_out() -> None:
    output = yolov8_output((32, 32, 20, 16, 0.9), (32, 33, 20, 16, 0.8), (10, 30, 8, 8, 0.3))
    output[40, 50] = 1.0  # something that is no person
    assert len(read_persons(output, Layout.YOLOV8, FIT, SIZE, 0.5, 0.7)) == 1


def test_yolox_cells_are_decoded_by_their_stride() -> None:
    output = np.zeros((CELLS, 85), np.float32)
    cell = 64 + 5  # second grid, stride 16: column 1, row 1
    output[cell, :6] = 0.5, 0.25, np.log(2), np.log(1), 0.9, 0.8
    found = read_persons(output, Layout.YOLOX, Fit(1.0, 0, 0, (64, 64)), SIZE, 0.5, 0.7)
    assert found.boxes == pytest.approx(np.array([[8, 12, 40, 28]]))
    assert found.scores == pytest.approx([0.72])


def test_a_blank_output_gives_nothing() -> None:
    assert len(read_persons(np.zeros((84, CELLS), np.float32), Layout.YOLOV8, FIT, SIZE, 0.1, 0.7)) == 0
