"""What YOLO-like networks want as input and mean by their output: letterbox and layouts, pure.

For an input of H x W pixels, N is the number of cells of the grids of stride 8, 16 and 32. The layouts:

- `yolox`: (B, N, 5 + classes); centre and size relative to the cell, objectness, class scores.
  Ge et al., "YOLOX: Exceeding YOLO Series in 2021", section 2.
- `yolox_decoded`: the same with boxes in input pixels, as YOLOX exports with `--decode_in_inference`.
- `yolov5` (also v7): (B, 3 * N, 5 + classes); centre and size in input pixels, objectness, class scores.
- `yolov8` (also 9, 11, 12): (B, 4 + classes, N); centre and size in input pixels, class scores.
- `end_to_end` (YOLO26, v10, and exports with suppression inside): (B, K, 6); corners in input pixels, score, class.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np

from pipeline.boxes import suppress
from pipeline.contracts import F32, Detections, Image
from pipeline.errors import ConfigurationError

_STRIDES = (8, 16, 32)
_MARGIN_GREY = 114  # the grey that both families were trained with


class Layout(StrEnum):
    YOLOX = "yolox"
    YOLOX_DECODED = "yolox_decoded"
    YOLOV5 = "yolov5"
    YOLOV8 = "yolov8"
    END_TO_END = "end_to_end"


YOLOX_LAYOUTS = frozenset({Layout.YOLOX, Layout.YOLOX_DECODED})  # fed with BGR of 0 to 255 in the corner


@dataclass(frozen=True, slots=True)
class InputFormat:
    """How a frame becomes a network's input: (3, height, width) float32 planes."""

    width_px: int
    height_px: int
    channels: Literal["rgb", "bgr"]  # order of the planes
    scale: float  # that pixels from 0 to 255 are multiplied by
    placement: Literal["centre", "corner"]  # where the picture lies when its shape is another; the rest is grey


@dataclass(frozen=True, slots=True)
class Fit:
    """How a frame was fitted into the network's input: input pixel = frame pixel * scale + offset."""

    scale: float
    left_px: int
    top_px: int
    frame_size_px: tuple[int, int]  # width, height

    def to_frame(self, boxes: F32) -> F32:
        """(N, 4) boxes in input pixels → frame pixels, clipped to the frame."""
        offset = np.array([self.left_px, self.top_px] * 2, np.float32)
        limit = np.array(self.frame_size_px * 2, np.float32)
        placed: F32 = np.clip((boxes - offset) / np.float32(self.scale), 0, limit).astype(np.float32)
        return placed


def letterbox(image: Image, wanted: InputFormat, planes: F32) -> Fit:
    """Write `image` (H, W, 3) RGB as a network wants it into `planes` (3, height, width), keeping its shape."""
    frame_height, frame_width = image.shape[:2]
    scale = min(wanted.width_px / frame_width, wanted.height_px / frame_height)
    inner = (max(round(frame_width * scale), 1), max(round(frame_height * scale), 1))
    is_centred = wanted.placement == "centre"
    left = (wanted.width_px - inner[0]) // 2 if is_centred else 0
    top = (wanted.height_px - inner[1]) // 2 if is_centred else 0
    canvas = np.full((wanted.height_px, wanted.width_px, 3), _MARGIN_GREY, np.uint8)
    place = canvas[top : top + inner[1], left : left + inner[0]]
    cv2.resize(image, inner, dst=place, interpolation=cv2.INTER_LINEAR)
    # Split as bytes and widened into their place: a tenth of the time of a transposed copy, which jumps through memory.
    colours = cv2.split(canvas)
    for plane, colour in zip(planes, colours if wanted.channels == "rgb" else colours[::-1], strict=True):
        np.multiply(colour, np.float32(wanted.scale), out=plane)
    return Fit(scale, left, top, (frame_width, frame_height))


def recognise(output: F32, input_size_px: tuple[int, int]) -> Layout:
    """Which layout a network's output for any picture has. Raises `ConfigurationError` for any other network."""
    corners, strides = _grid(input_size_px)
    cells = len(strides)
    rows, columns = output.shape[1:] if output.ndim == 3 else (0, 0)
    if columns == cells and rows >= 5:
        return Layout.YOLOV8
    if rows == 3 * cells and columns >= 6:
        return Layout.YOLOV5
    if rows == cells and columns >= 6:
        # Offsets lie near 0, decoded centres near their cells, whatever the weights.
        offsets = np.abs(output[0, :, :2])
        from_cells = np.abs(output[0, :, :2] / strides[:, None] - corners)
        return Layout.YOLOX if np.median(offsets) <= np.median(from_cells) else Layout.YOLOX_DECODED
    if columns == 6 and 0 < rows < cells:
        return Layout.END_TO_END
    raise ConfigurationError(
        f"the network's output has shape {output.shape}; for {input_size_px[0]}x{input_size_px[1]} pixels expected "
        f"(1, 4 + classes, {cells}) as YOLOv8, 9, 11 and 12 give, (1, {3 * cells}, 5 + classes) as YOLOv5, "
        f"(1, {cells}, 5 + classes) as YOLOX, or (1, boxes, 6) as YOLO26: export the model as a detector of these"
    )


def class_count(output_shape: tuple[int, ...], layout: Layout) -> int:
    """How many classes an output (B, …) of that layout tells apart; 1 where it cannot be seen."""
    if layout is Layout.END_TO_END:
        return 1
    return output_shape[1] - 4 if layout is Layout.YOLOV8 else output_shape[2] - 5


@dataclass(frozen=True, slots=True)
class Reading:
    """What of a network's output is a person."""

    layout: Layout
    input_size_px: tuple[int, int]  # width, height
    min_score: float
    max_overlap: float  # of two persons who stand behind one another
    person_class: int = 0


def read_persons(output: F32, reading: Reading, fit: Fit) -> Detections:
    """The persons in the output for one frame, without its batch axis, after suppression."""
    if reading.layout is Layout.END_TO_END:
        scores = np.where(output[:, 5] == reading.person_class, output[:, 4], 0)
        found = np.flatnonzero(scores >= reading.min_score)
        boxes = fit.to_frame(output[found, :4])
        return _with_area(boxes, scores[found])  # suppressed already, or trained to need none
    if reading.layout is Layout.YOLOV8:
        scores = output[4 + reading.person_class]
        found = np.flatnonzero(scores >= reading.min_score)
        centre_and_size = output[:4, found].T
    else:
        scores = output[:, 4] * output[:, 5 + reading.person_class]
        found = np.flatnonzero(scores >= reading.min_score)
        centre_and_size = output[found, :4]
    if reading.layout is Layout.YOLOX:
        corners, strides = _grid(reading.input_size_px)
        stride = strides[found, None]
        centre_and_size = np.hstack(
            [(centre_and_size[:, :2] + corners[found]) * stride, np.exp(centre_and_size[:, 2:]) * stride]
        )
    half = centre_and_size[:, 2:] / 2
    boxes = fit.to_frame(np.hstack([centre_and_size[:, :2] - half, centre_and_size[:, :2] + half]))
    persons = _with_area(boxes, scores[found])
    kept = suppress(persons.boxes, persons.scores, reading.max_overlap)
    return Detections(persons.boxes[kept], persons.scores[kept])


def _with_area(boxes: F32, scores: F32) -> Detections:
    has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return Detections(boxes[has_area], np.minimum(scores[has_area], 1).astype(np.float32))


@lru_cache(maxsize=8)
def _grid(input_size_px: tuple[int, int]) -> tuple[F32, F32]:
    """Column and row (N, 2) and stride (N,) of every cell, finest grid first."""
    width, height = input_size_px
    corners, strides = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        corners.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full(rows.size, stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(strides).astype(np.float32)
