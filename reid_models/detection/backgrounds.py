"""Places without people: pieces of empty scenes, and painted surfaces with poles, boxes and leaves; all by chance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from reid_models.detection.scenes import U8

Size = tuple[int, int]  # height, width in pixels

_LEAST_PIECE = 0.25  # side of a piece of an empty scene, as a share of the canvas that it is enlarged to
_QUARTER_TURNS = (0.64, 0.12, 0.12, 0.12)  # how often a piece is turned by none, one, two, three
_PIECES_ASIDE = 3  # of a patchwork, at most


def draw_background(empty: Sequence[U8], size: Size, rng: np.random.Generator) -> U8:
    """A canvas of `size` without people: a piece of one of the `empty` scenes, a patchwork of such, or painted."""
    kind = rng.random()
    if not empty or kind < 0.3:
        canvas = paint(size, rng)
    elif kind < 0.8:
        canvas = piece(_any_of(empty, rng), size, rng)
    else:
        canvas = _patchwork(empty, size, rng)
    if rng.random() < 0.5:
        clutter(canvas, int(rng.integers(1, 12)), rng)
    return canvas


def piece(image: U8, size: Size, rng: np.random.Generator) -> U8:
    """Part of an image, mirrored or turned by quarters at times, scaled to `size`: few scenes must look like many."""
    height, width = image.shape[:2]
    share = rng.uniform(_LEAST_PIECE, 1.0, 2)
    part_height, part_width = max(int(height * share[0]), 8), max(int(width * share[1]), 8)
    top, left = rng.integers(0, height - part_height + 1), rng.integers(0, width - part_width + 1)
    part = image[top : top + part_height, left : left + part_width]
    turned = np.rot90(part[:, :: -1 if rng.random() < 0.5 else 1], int(rng.choice(4, p=_QUARTER_TURNS)))
    return np.asarray(cv2.resize(np.ascontiguousarray(turned), size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def paint(size: Size, rng: np.random.Generator) -> U8:
    """Ground and wall: two slopes of colour with cloudy noise, and at times a grid of tiles or windows."""
    height, width = size
    canvas = np.empty((height, width, 3), np.float32)
    horizon = int(height * rng.uniform(-0.2, 0.7))
    canvas[: max(horizon, 0)] = _slope(max(horizon, 0), width, rng)
    canvas[max(horizon, 0) :] = _slope(height - max(horizon, 0), width, rng)
    for cells in (int(rng.integers(3, 9)), int(rng.integers(20, 90))):
        noise = rng.normal(0, rng.uniform(2, 14), (cells, cells * 2, 1)).astype(np.float32)
        canvas += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    if rng.random() < 0.5:
        spacing, shade = rng.integers(8, 70, 2), rng.uniform(-50, 50)
        slant = int(rng.integers(-2, 3)) if rng.random() < 0.5 else 0
        rows, columns = np.ogrid[:height, :width]
        line = int(rng.integers(1, 4))
        canvas[((rows % spacing[0]) < line) | (((columns + slant * rows) % spacing[1]) < line)] += shade
    return np.clip(canvas, 0, 255).astype(np.uint8)


def clutter(canvas: U8, count: int, rng: np.random.Generator) -> None:
    """Draw things that are no people: poles, boxes, ellipses, many-cornered shapes, bushes of short strokes."""
    height, width = canvas.shape[:2]
    for _ in range(count):
        x, y = int(rng.integers(-20, width)), int(rng.integers(-20, height))
        across, down = (int(np.exp(rng.uniform(np.log(4), np.log(limit)))) for limit in (width * 0.6, height * 0.6))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        here = np.array((x, y))
        kind = rng.integers(6)
        if kind == 0:
            cv2.rectangle(canvas, (x, y), (x + across, y + down), colour, -1)
        elif kind == 1:
            thin = int(rng.integers(2, 9))
            cv2.rectangle(canvas, (x, y), (x + thin, y + max(down, 30)), colour, -1)
        elif kind == 2:
            cv2.ellipse(
                canvas, (x, y), (across // 2 + 1, down // 2 + 1), float(rng.uniform(0, 180)), 0, 360, colour, -1
            )
        elif kind == 3:
            corners = here + rng.integers(0, 2 * max(min(across, down), 4), (int(rng.integers(3, 8)), 2))
            cv2.fillPoly(canvas, [corners.astype(np.int32)], colour)
        elif kind == 4:
            cv2.line(
                canvas, (x, y), (x + across, y + int(rng.integers(-down, down + 1))), colour, int(rng.integers(1, 6))
            )
        else:
            ends = here + rng.normal(0, 1, (40, 2)) * (across / 4, down / 4)
            strokes = np.stack([ends, ends + rng.normal(0, 4, (40, 2))], axis=1).astype(np.int32)
            cv2.polylines(canvas, list(strokes), False, colour, int(rng.integers(1, 4)))


def _patchwork(empty: Sequence[U8], size: Size, rng: np.random.Generator) -> U8:
    canvas = np.empty((*size, 3), np.uint8)
    rows, columns = (np.linspace(0, side, int(rng.integers(1, _PIECES_ASIDE)) + 1).astype(int) for side in size)
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            part = (int(bottom - top), int(right - left))
            canvas[top:bottom, left:right] = (
                piece(_any_of(empty, rng), part, rng) if rng.random() < 0.7 else paint(part, rng)
            )
    return canvas


def _any_of(images: Sequence[U8], rng: np.random.Generator) -> U8:
    return images[int(rng.integers(len(images)))]


def _slope(height: int, width: int, rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(height, width, 3) between four corner colours that are near one another and mostly dull."""
    middle = rng.uniform(20, 235) + rng.normal(0, 18, 3)
    corners = (middle + rng.normal(0, 22, (2, 2, 1)) + rng.normal(0, 6, (2, 2, 3))).astype(np.float32)
    if height == 0:
        return np.zeros((0, width, 3), np.float32)
    return np.asarray(cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
