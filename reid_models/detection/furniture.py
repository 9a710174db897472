"""Upright things of streets and rooms that a detector must not take for people: windows, doors, bins, signs, posts."""

from __future__ import annotations

import cv2
import numpy as np

from reid_models.detection.cutouts import Cutout
from reid_models.detection.scenes import U8

_HEIGHT_PX = 120  # drawn large and scaled down when pasted, so that edges are as soft as a person's


def draw_furniture(texture: U8, rng: np.random.Generator) -> Cutout:
    """A framed opening with bars, a bin with its lid, a plate on a pole, or a post; filled with paint or `texture`."""
    width = max(int(_HEIGHT_PX * rng.uniform(0.22, 0.75)), 12)
    image = np.asarray(cv2.resize(texture, (width, _HEIGHT_PX), interpolation=cv2.INTER_LINEAR), np.uint8).copy()
    cover = np.zeros((_HEIGHT_PX, width), np.uint8)
    first, second = (tuple(int(value) for value in _dull(rng)) for _ in range(2))
    kind = rng.integers(4)
    if kind == 0:
        cover[:] = 255
        if rng.random() < 0.7:
            image[:] = first
        border = int(rng.integers(2, 10))
        cv2.rectangle(image, (0, 0), (width - 1, _HEIGHT_PX - 1), second, border)
        for _ in range(int(rng.integers(0, 4))):
            row, column = int(rng.integers(_HEIGHT_PX)), int(rng.integers(width))
            thick = int(rng.integers(1, 5))
            cv2.line(image, (0, row), (width, row), second, thick)
            cv2.line(image, (column, 0), (column, _HEIGHT_PX), second, thick)
    elif kind == 1:
        slant = int(width * rng.uniform(0, 0.2))
        outline = np.array([(0, 0), (width, 0), (width - slant, _HEIGHT_PX), (slant, _HEIGHT_PX)], np.int32)
        cv2.fillPoly(cover, [outline], 255)
        image[:] = first
        lid = int(_HEIGHT_PX * rng.uniform(0.1, 0.4))
        image[:lid] = second
    elif kind == 2:
        plate, pole = int(_HEIGHT_PX * rng.uniform(0.2, 0.6)), max(int(width * rng.uniform(0.06, 0.25)), 3)
        cover[:plate] = 255
        middle = width // 2
        cover[plate:, middle - pole // 2 : middle + pole // 2 + 1] = 255
        image[:plate] = first
        image[plate:] = second
    else:
        thick = max(int(width * rng.uniform(0.3, 1.0)), 6)
        cover[:, :thick] = 255
        image[:] = first
        top = int(_HEIGHT_PX * rng.uniform(0.05, 0.5))
        image[:top] = second if rng.random() < 0.5 else first
        image, cover = image[:, :thick], cover[:, :thick]
    shade = np.linspace(rng.uniform(0.6, 1.1), rng.uniform(0.6, 1.1), image.shape[1], dtype=np.float32)[None, :, None]
    return Cutout(np.clip(image * shade, 0, 255).astype(np.uint8), np.ascontiguousarray(cover))


def _dull(rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """A grey from black to white with a little colour, at times much."""
    spread = 60 if rng.random() < 0.2 else 12
    return np.clip(rng.uniform(0, 255) + rng.normal(0, spread, 3), 0, 255)
