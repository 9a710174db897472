"""Which moving blobs are persons: rules of shape and size, pure.

A blob is a connected patch of moving pixels with its box. Fragments of one person are joined, a patch as wide as
several persons is split, and what has not the shape of a standing person is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.boxes import Boxes, areas
from pipeline.contracts import F64, I64, Detections


@dataclass(frozen=True, slots=True)
class PersonShape:
    """What a standing person looks like as a blob. Heights are shares of the frame's height."""

    min_height: float = 0.07
    max_height: float = 0.95
    min_aspect: float = 1.2  # height through width
    max_aspect: float = 5.0
    usual_aspect: float = 2.4
    min_fill: float = 0.25  # moving share of the box
    join_gap: float = 0.5  # of the taller fragment's height: how far apart fragments of one person may be
    join_shared_width: float = 0.5  # of the narrower fragment: how much they must stand above each other
    split_from: float = 1.7  # usual widths: a wider blob is several persons side by side


def find_persons(boxes: Boxes, moving_px: F64, frame_height_px: int, shape: PersonShape) -> Detections:
    """Blobs as boxes (N, 4) with their moving pixels (N,) → persons. The score says how person-like a blob is."""
    boxes, moving_px = join_fragments(np.asarray(boxes, np.float64), np.asarray(moving_px, np.float64), shape)
    boxes, moving_px = split_groups(boxes, moving_px, frame_height_px, shape)
    heights, widths = boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]
    aspect = heights / np.maximum(widths, 1)
    fill = moving_px / np.maximum(areas(boxes), 1)
    height = heights / frame_height_px
    is_person = (
        (height >= shape.min_height)
        & (height <= shape.max_height)
        & (aspect >= shape.min_aspect)
        & (aspect <= shape.max_aspect)
        & (fill >= shape.min_fill)
    )
    likeness = np.exp(-np.abs(np.log(np.maximum(aspect, 1e-3) / shape.usual_aspect)))
    scores = np.clip(0.5 + 0.3 * likeness + 0.2 * np.minimum(fill, 1), 0, 1)
    return Detections(boxes[is_person].astype(np.float32), scores[is_person].astype(np.float32))


def join_fragments(boxes: F64, moving_px: F64, shape: PersonShape) -> tuple[F64, F64]:
    """Join blobs that stand above one another with a small gap, as head and body that the background hides between.

    A union that is taller than a person of its width is not made.
    """
    while True:
        pair = _nearest_fragments(boxes, shape)
        if pair is None:
            return boxes, moving_px
        first, second = pair
        union = np.concatenate(
            [np.minimum(boxes[first], boxes[second])[:2], np.maximum(boxes[first], boxes[second])[2:]]
        )
        rest = np.setdiff1d(np.arange(len(boxes)), [first, second])
        boxes = np.vstack([boxes[rest], union])
        moving_px = np.append(moving_px[rest], moving_px[first] + moving_px[second])


def split_groups(boxes: F64, moving_px: F64, frame_height_px: int, shape: PersonShape) -> tuple[F64, F64]:
    """Cut blobs as wide as two or more persons of their height into so many equal parts side by side.

    A blob at the lower or upper border stays whole: it is wide because only a part of the person is in the picture.
    """
    heights, widths = boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]
    usual_widths = np.maximum(heights / shape.usual_aspect, 1)
    persons = np.where(widths > shape.split_from * usual_widths, np.round(widths / usual_widths), 1).astype(np.int64)
    # Wider than four persons is no group but a vehicle, a shadow or a change of light: left whole, the shape decides.
    persons[(persons > 4) | (boxes[:, 1] <= 1) | (boxes[:, 3] >= frame_height_px - 1)] = 1
    source: I64 = np.repeat(np.arange(len(boxes)), persons)
    place = np.concatenate([np.arange(count) for count in persons]) if len(persons) else np.zeros(0)
    part_widths = (widths / persons)[source]
    parts = boxes[source].copy()
    parts[:, 0] += place * part_widths
    parts[:, 2] = parts[:, 0] + part_widths
    return parts, moving_px[source] / persons[source]


def _nearest_fragments(boxes: F64, shape: PersonShape) -> tuple[int, int] | None:
    """The two blobs with the smallest vertical gap among those that can be one person."""
    if len(boxes) < 2:
        return None
    left = np.maximum(boxes[:, None, 0], boxes[:, 0])
    right = np.minimum(boxes[:, None, 2], boxes[:, 2])
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    shared = (right - left) / np.maximum(np.minimum(widths[:, None], widths), 1)
    gap = np.maximum(boxes[:, None, 1], boxes[:, 1]) - np.minimum(boxes[:, None, 3], boxes[:, 3])
    union_width = np.maximum(boxes[:, None, 2], boxes[:, 2]) - np.minimum(boxes[:, None, 0], boxes[:, 0])
    union_height = np.maximum(boxes[:, None, 3], boxes[:, 3]) - np.minimum(boxes[:, None, 1], boxes[:, 1])
    may_join = (
        (shared >= shape.join_shared_width)
        & (gap <= shape.join_gap * np.maximum(heights[:, None], heights))
        & (union_height <= shape.max_aspect * 0.7 * union_width)
    )
    np.fill_diagonal(may_join, False)
    if not may_join.any():
        return None
    first, second = np.unravel_index(np.where(may_join, gap, np.inf).argmin(), gap.shape)
    return int(first), int(second)
