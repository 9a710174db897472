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
from typing import Literal

import cv2
import numpy as np

from pipeline.camera.boxes import suppress
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


def letterbox(image: Image, layout: Layout, size_px: tuple[int, int]) -> tuple[F32, Fit]:
    """Scale `image` (H, W, 3) RGB into `size_px` (width, height), keeping its shape: (3, height, width) and the fit.

    YOLOX puts the picture into the top left corner, YOLOv8 into the middle.
    """
    frame_height, frame_width = image.shape[:2]
    width, height = size_px
    scale = min(width / frame_width, height / frame_height)
    inner = (max(round(frame_width * scale), 1), max(round(frame_height * scale), 1))
    is_centred = layout is Layout.YOLOV8
    left = (width - inner[0]) // 2 if is_centred else 0
    top = (height - inner[1]) // 2 if is_centred else 0
    canvas = np.full((height, width, 3), _MARGIN_GREY, np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
    planes = np.ascontiguousarray(canvas.transpose(2, 0, 1), np.float32)
    tensor = planes[::-1] if layout is Layout.YOLOX else planes / np.float32(255)
    return np.ascontiguousarray(tensor), Fit(scale, left, top, (frame_width, frame_height))


def recognise(output_shape: tuple[int, ...], input_size_px: tuple[int, int]) -> Layout:
    """Which layout an output of this shape has. Raises `ConfigurationError` for any other network."""
    cells = len(_grid(input_size_px)[1])
    if len(output_shape) == 3 and output_shape[1] == cells and output_shape[2] >= 6:
        return Layout.YOLOX
    if len(output_shape) == 3 and output_shape[2] == cells and output_shape[1] >= 5:
        return Layout.YOLOV8
    raise ConfigurationError(
        f"the network's output has shape {output_shape}; expected (1, {cells}, 5 + classes) as YOLOX gives or "
        f"(1, 4 + classes, {cells}) as YOLOv8 and YOLO11 give: export the model again without built-in suppression"
    )


def read_persons(
    output: F32, layout: Layout, fit: Fit, input_size_px: tuple[int, int], min_score: float, max_overlap: float
) -> Detections:
    """The persons (class 0) in the output for one frame, (N, 5 + C) or (4 + C, N), after suppression."""
    rows = output if layout is Layout.YOLOX else output.T
    scores = rows[:, 4] * rows[:, 5] if layout is Layout.YOLOX else rows[:, 4]
    found = np.flatnonzero(scores >= min_score)
    centre_and_size = rows[found, :4]
    if layout is Layout.YOLOX:
        corners, strides = _grid(input_size_px)
        stride = strides[found, None]
        centre_and_size = np.hstack(
            [(centre_and_size[:, :2] + corners[found]) * stride, np.exp(centre_and_size[:, 2:]) * stride]
        )
    half = centre_and_size[:, 2:] / 2
    boxes = fit.to_frame(np.hstack([centre_and_size[:, :2] - half, centre_and_size[:, :2] + half]))
    has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, scores = boxes[has_area], scores[found][has_area]
    kept = suppress(boxes, scores, max_overlap)
    return Detections(boxes[kept], np.minimum(scores[kept], 1).astype(np.float32))


def _grid(input_size_px: tuple[int, int]) -> tuple[F32, F32]:
    """Column and row (N, 2) and stride (N,) of every cell, finest grid first."""
    width, height = input_size_px
    corners, strides = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        corners.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full(rows.size, stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(strides).astype(np.float32)
