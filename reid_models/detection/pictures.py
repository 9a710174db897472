"""A training picture and what may be done with it: windows, mirrors, mosaics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.boxes import areas, intersections
from pipeline.contracts import F32
from reid_models.detection.backgrounds import Size
from reid_models.detection.scenes import U8

MARGIN_GREY = 114  # of the letterbox that the detector is run with
_LEAST_LEFT = 0.35  # share of a person within the window, to be found; less is doubtful
_LEAST_SIDES_PX = (3.0, 8.0)  # width and height of a person that a cell can show; smaller is doubtful


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image (H, W, 3) RGB with boxes (K, 4) of people, and of what teaches nothing."""

    image: U8
    people: F32
    doubtful: F32


def window(picture: Picture, scale: float, left_top_px: tuple[float, float], size: Size) -> Picture:
    """Scale the picture, and take the `size` window at (left, top) of the scaled one; grey where it has nothing.

    People mostly outside, and those too small, become doubtful.
    """
    left, top = left_top_px
    moved = np.array([[scale, 0, -left], [0, scale, -top]], np.float32)
    image = picture.image
    if scale < 0.6:  # linear interpolation alone would leave pixels out
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.35 / scale), np.uint8)
    canvas = cv2.warpAffine(image, moved, size[::-1], flags=cv2.INTER_LINEAR, borderValue=(MARGIN_GREY,) * 3)
    offset = np.array([left, top] * 2, np.float32)
    people, doubtful = (boxes * np.float32(scale) - offset for boxes in (picture.people, picture.doubtful))
    return clipped(Picture(np.asarray(canvas, np.uint8), people, doubtful))


def clipped(picture: Picture) -> Picture:
    """Boxes cut at the border; people of whom too little is left or who are too small become doubtful."""
    height, width = picture.image.shape[:2]
    limit = np.array([width, height] * 2, np.float32)
    inside = np.clip(picture.people, 0, limit)
    sides = inside[:, 2:] - inside[:, :2]
    share = areas(inside) / np.maximum(areas(picture.people), 1e-6)
    is_found = (share >= _LEAST_LEFT) & (sides >= _LEAST_SIDES_PX).all(axis=1)
    doubtful = np.concatenate([np.clip(picture.doubtful, 0, limit), inside[~is_found]])
    has_area = (doubtful[:, 2:] - doubtful[:, :2] > 0.5).all(axis=1)
    return Picture(picture.image, inside[is_found], doubtful[has_area])


def mirrored(picture: Picture) -> Picture:
    """Left for right."""
    width = picture.image.shape[1]
    people, doubtful = (
        np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
        for boxes in (picture.people, picture.doubtful)
    )
    return Picture(np.ascontiguousarray(picture.image[:, ::-1]), people.astype(np.float32), doubtful.astype(np.float32))


def mosaic(parts: Sequence[Picture]) -> Picture:
    """Four pictures side by side: two above, two below; sizes in a row and in a column must agree."""
    above_left, above_right, below_left, _ = parts
    right, down = above_left.image.shape[1], above_left.image.shape[0]
    rows = [np.hstack([left.image, other.image]) for left, other in ((above_left, above_right), (below_left, parts[3]))]
    offsets = np.array([(0, 0) * 2, (right, 0) * 2, (0, down) * 2, (right, down) * 2], np.float32)
    people, doubtful = (
        np.concatenate([boxes + offset for boxes, offset in zip(kind, offsets, strict=True)])
        for kind in ([part.people for part in parts], [part.doubtful for part in parts])
    )
    return Picture(np.vstack(rows), people, doubtful)


def hidden_share(boxes: F32, nearer: F32) -> F32:
    """(K, 4), (M, 4) → (K,) the greatest share of each box that one nearer box covers."""
    if not len(nearer):
        return np.zeros(len(boxes), np.float32)
    shared = intersections(boxes, nearer) / np.maximum(areas(boxes), 1e-6)[:, None]
    return np.asarray(shared.max(axis=1), np.float32)
