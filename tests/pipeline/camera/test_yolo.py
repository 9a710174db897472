"""Letterbox and layouts, on tensors made by hand."""

from __future__ import annotations

from dataclasses import replace

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from pipeline.camera.yolo import Fit, InputFormat, Layout, Reading, class_count, letterbox, read_persons, recognise
from pipeline.contracts import F32, Image
from pipeline.errors import ConfigurationError

SIZE = (64, 64)  # 64 + 16 + 4 cells
CELLS = 84
BLUE_FIRST = InputFormat(64, 64, "bgr", 1.0, "corner")  # as YOLOX
RED_FIRST = InputFormat(64, 64, "rgb", 1 / 255, "centre")  # as YOLOv8


def fitted(image: Image, wanted: InputFormat) -> tuple[F32, Fit]:
    planes = np.full((3, wanted.height_px, wanted.width_px), np.nan, np.float32)
    return planes, letterbox(image, wanted, planes)


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 700), st.integers(8, 500), st.sampled_from([BLUE_FIRST, RED_FIRST]))
def test_a_box_comes_back_from_the_letterbox(width: int, height: int, wanted: InputFormat) -> None:
    planes, fit = fitted(np.zeros((height, width, 3), np.uint8), replace(wanted, width_px=416, height_px=320))
    box = np.array([[width * 0.2, height * 0.3, width * 0.7, height * 0.9]], np.float32)
    offset = np.array([fit.left_px, fit.top_px] * 2, np.float32)
    assert fit.to_frame(box * np.float32(fit.scale) + offset) == pytest.approx(box, rel=1e-4, abs=1e-2)
    assert np.isfinite(planes).all()  # every pixel was written


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 200), st.integers(2, 200), st.sampled_from([BLUE_FIRST, RED_FIRST]), st.integers(0, 9))
def test_pixels_are_those_of_a_plain_letterbox(width: int, height: int, wanted: InputFormat, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    planes, fit = fitted(image, wanted)
    inner = (max(round(width * fit.scale), 1), max(round(height * fit.scale), 1))
    expected = np.full((64, 64, 3), 114, np.uint8)
    small = cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
    expected[fit.top_px : fit.top_px + inner[1], fit.left_px : fit.left_px + inner[0]] = small
    if wanted.channels == "bgr":
        expected = expected[..., ::-1]
    np.testing.assert_allclose(planes, expected.transpose(2, 0, 1) * wanted.scale, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize(("wanted", "channel", "full"), [(BLUE_FIRST, 2, 255.0), (RED_FIRST, 0, 1.0)])
def test_red_is_where_the_network_expects_it(wanted: InputFormat, channel: int, full: float) -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    planes, _ = fitted(red, wanted)
    assert planes[channel].min() == pytest.approx(full)
    assert np.delete(planes, channel, axis=0).max() == 0


def test_margins_are_grey_and_lie_where_the_format_says() -> None:
    wide = np.zeros((32, 64, 3), np.uint8)
    corner, _ = fitted(wide, BLUE_FIRST)
    centred, fit = fitted(wide, RED_FIRST)
    assert corner[:, :32].max() == 0
    assert corner[:, 32:].min() == corner[:, 32:].max() == 114
    assert centred[:, 16:48].max() == 0
    assert (fit.left_px, fit.top_px) == (0, 16)


def _centres() -> F32:
    """Every cell's own place in input pixels: what a decoded YOLOX gives about."""
    places = [(x * step, y * step) for step in (8, 16, 32) for y in range(64 // step) for x in range(64 // step)]
    return np.array(places, np.float32)


def test_layouts_are_told_apart_by_shape_and_yolox_by_its_values() -> None:
    def blank(*shape: int) -> F32:
        return np.zeros(shape, np.float32)

    decoded = blank(1, CELLS, 6)
    decoded[0, :, :2] = _centres() + 3
    assert recognise(blank(1, CELLS, 85), SIZE) is Layout.YOLOX
    assert recognise(decoded, SIZE) is Layout.YOLOX_DECODED
    assert recognise(blank(1, 84, 8400), (640, 640)) is Layout.YOLOV8
    assert recognise(blank(2, 25200, 85), (640, 640)) is Layout.YOLOV5
    assert recognise(blank(1, 300, 6), (640, 640)) is Layout.END_TO_END
    for shape in ((1, 1000), (1, 100, 4), (1, 8400, 7, 7)):
        with pytest.raises(ConfigurationError, match="expected"):
            recognise(blank(*shape), (640, 640))


def test_classes_are_counted_where_they_can_be_seen() -> None:
    assert class_count((1, 84, 8400), Layout.YOLOV8) == 80
    assert class_count((1, 8400, 6), Layout.YOLOX) == class_count((1, 300, 6), Layout.END_TO_END) == 1


def yolov8_output(*persons: tuple[float, float, float, float, float]) -> F32:
    output = np.zeros((84, CELLS), np.float32)
    for cell, (x, y, width, height, score) in enumerate(persons):
        output[:5, cell] = x, y, width, height, score
    return output


FIT = Fit(0.5, 0, 16, (128, 64))


def reading(layout: Layout, person_class: int = 0) -> Reading:
    return Reading(layout, SIZE, 0.5, 0.7, person_class)


def test_yolov8_boxes_are_read_in_frame_pixels_and_clipped() -> None:
    output = yolov8_output((32, 32, 20, 16, 0.9), (60, 32, 20, 16, 0.8))
    found = read_persons(output, reading(Layout.YOLOV8), FIT)
    assert found.boxes == pytest.approx(np.array([[44, 16, 84, 48], [100, 16, 128, 48]]))
    assert found.scores == pytest.approx([0.9, 0.8])


def test_weak_and_doubled_boxes_and_other_classes_are_left_out() -> None:
    output = yolov8_output((32, 32, 20, 16, 0.9), (32, 33, 20, 16, 0.8), (10, 30, 8, 8, 0.3))
    output[40, 50] = 1.0  # something that is no person
    assert len(read_persons(output, reading(Layout.YOLOV8), FIT)) == 1
    assert len(read_persons(output, reading(Layout.YOLOV8, person_class=36), FIT)) == 0  # that thing has no area
    output[:4, 50] = 32, 32, 8, 8
    assert len(read_persons(output, reading(Layout.YOLOV8, person_class=36), FIT)) == 1


def test_yolox_cells_are_decoded_by_their_stride() -> None:
    output = np.zeros((CELLS, 85), np.float32)
    cell = 64 + 5  # second grid, stride 16: column 1, row 1
    output[cell, :6] = 0.5, 0.25, np.log(2), np.log(1), 0.9, 0.8
    found = read_persons(output, reading(Layout.YOLOX), Fit(1.0, 0, 0, (64, 64)))
    assert found.boxes == pytest.approx(np.array([[8, 12, 40, 28]]))
    assert found.scores == pytest.approx([0.72])


@pytest.mark.parametrize("layout", [Layout.YOLOV5, Layout.YOLOX_DECODED])
def test_decoded_boxes_with_objectness_are_read_as_they_are(layout: Layout) -> None:
    output = np.zeros((3 * CELLS, 7), np.float32)
    output[200] = 24, 20, 32, 16, 0.9, 0.1, 0.8
    found = read_persons(output, reading(layout, person_class=1), Fit(1.0, 0, 0, (64, 64)))
    assert found.boxes == pytest.approx(np.array([[8, 12, 40, 28]]))
    assert found.scores == pytest.approx([0.72])


def test_ready_boxes_keep_their_class_and_are_not_suppressed_again() -> None:
    output = np.array([[8, 20, 40, 44, 0.9, 0], [8, 21, 40, 44, 0.8, 0], [8, 20, 40, 44, 0.95, 2]], np.float32)
    found = read_persons(output, reading(Layout.END_TO_END), FIT)
    assert found.boxes == pytest.approx(np.array([[16, 8, 80, 56], [16, 10, 80, 56]]))


@pytest.mark.parametrize("layout", list(Layout))
def test_a_blank_output_gives_nothing(layout: Layout) -> None:
    shape = {Layout.YOLOV8: (84, CELLS), Layout.YOLOV5: (3 * CELLS, 85), Layout.END_TO_END: (300, 6)}
    assert len(read_persons(np.zeros(shape.get(layout, (CELLS, 85)), np.float32), reading(layout), FIT)) == 0
