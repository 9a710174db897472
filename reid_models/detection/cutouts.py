"""People cut out of the pictures of an unmoving camera, to be put before other backgrounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.boxes import overlaps
from pipeline.contracts import F32
from reid_models.detection.scenes import U8, Scene

LEAST_CUTOUTS = 20  # of one scene; fewer people would be seen again and again
_LEAST_HEIGHT_PX = 48
_MARGIN = 0.12  # of a box's size, around it: teachers' boxes cut hands and feet off
_DIFFERENCE = 16.0  # grey levels from the background that are no noise, after blurring
_GAPS_PX = 7  # in a person who is coloured like the background, to be closed
_FILLED = (0.3, 0.85)  # share of its box that a person fills; another share is a spoilt mask
_AGREEMENT = 0.72  # overlap of the mask's box with the person's: with less, head or feet are lost or a shadow was won
_LARGEST_PX = 300
_BACKGROUND_EVERY = 24  # frames that share one background
# Where everybody is in a crop, as shares of width and height: the middle of an ellipse, half its width and height.
_HEAD, _BODY, _LEGS = (0.5, 0.13, 0.2, 0.12), (0.5, 0.38, 0.34, 0.25), (0.5, 0.72, 0.25, 0.27)


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A person: `image` (H, W, 3) RGB and `cover` (H, W), 0 to 255, which touches all four sides."""

    image: U8
    cover: U8


def people_of(scene: Scene, every: int = 1) -> Iterator[Cutout]:
    """Whoever stands free in every `every`-th frame, cut out by the difference to the empty scene."""
    background, computed_for = scene.frames[0], -1
    for place in range(0, len(scene.frames), every):
        if place // _BACKGROUND_EVERY != computed_for:
            background, computed_for = scene.background(place), place // _BACKGROUND_EVERY
        others = np.concatenate([scene.people[place], scene.doubtful[place]])
        for number, box in enumerate(scene.people[place]):
            window = _window(box, scene.frames.shape[1:3])
            if window is None or _is_touched(window, np.delete(others, number, axis=0)):
                continue
            left, top, right, bottom = window
            region = np.s_[top:bottom, left:right]
            offset = np.array([left, top] * 2, np.float32)
            found = cut_out(scene.frames[place][region], background[region], box - offset)
            if found is not None:
                yield found


def cut_out(image: U8, background: U8, box: F32) -> Cutout | None:
    """The person whose `box` (4,) lies in `image`: all that differs from `background`.

    None where that is no whole person: parts that look like the background are missing, or others are added.
    """
    difference = np.abs(image.astype(np.int16) - background).max(axis=2).astype(np.float32)
    mask = (cv2.GaussianBlur(difference, (0, 0), 1.2) > _DIFFERENCE).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((_GAPS_PX, _GAPS_PX), np.uint8))
    count, pieces, statistics, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
    left, top, width, height, area = (int(value) for value in statistics[largest])
    found = np.array([[left, top, left + width, top + height]], np.float32)
    if overlaps(found, box[None])[0, 0] < _AGREEMENT or not _FILLED[0] <= area / (width * height) <= _FILLED[1]:
        return None
    region = np.s_[top : top + height, left : left + width]
    cover = np.where(pieces[region] == largest, 255, 0).astype(np.uint8)
    return shrunk(Cutout(image[region].copy(), cover), _LARGEST_PX)


def cut_out_of_crop(image: U8) -> Cutout:
    """The person who fills a crop: where everybody is, and what GrabCut (Rother et al. 2004) adds to that.

    GrabCut alone loses heads and feet, which are smaller and coloured otherwise than clothes.
    """
    height, width = image.shape[:2]
    usual = np.zeros((height, width), np.uint8)
    for x, y, across, down in (_HEAD, _BODY, _LEGS):
        middle = (round(x * width), round(y * height))
        cv2.ellipse(usual, middle, (round(across * width), round(down * height)), 0, 0, 360, 255, -1)
    labels = np.where(usual > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[cv2.erode(usual, np.ones((5, width // 4), np.uint8)) > 0] = cv2.GC_FGD
    labels[:, [0, -1]] = cv2.GC_BGD
    models = np.zeros((2, 1, 65))
    cv2.grabCut(np.ascontiguousarray(image), labels, (0, 0, 0, 0), models[0], models[1], 1, cv2.GC_INIT_WITH_MASK)
    cover = np.where((labels & 1) == 1, 255, usual).astype(np.uint8)
    return Cutout(image, cover)


def shrunk(cutout: Cutout, height_px: float) -> Cutout:
    """The same person at most `height_px` tall."""
    height, width = cutout.cover.shape
    scale = height_px / height
    if scale >= 1:
        return cutout
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    image, cover = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (cutout.image, cutout.cover))
    return Cutout(np.asarray(image, np.uint8), np.asarray(cover, np.uint8))


def _window(box: F32, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The box with its margin, in whole pixels; None for people who are small or cut off by the frame."""
    height, width = size
    left, top, right, bottom = box
    if bottom - top < _LEAST_HEIGHT_PX or left < 2 or top < 2 or right > width - 2 or bottom > height - 2:
        return None
    aside, above = _MARGIN * (right - left) * 1.5, _MARGIN * (bottom - top)
    return (
        int(max(left - aside, 0)),
        int(max(top - above, 0)),
        int(min(right + aside, width)),
        int(min(bottom + above, height)),
    )


def _is_touched(window: tuple[int, int, int, int], others: F32) -> bool:
    left, top, right, bottom = window
    apart = (others[:, 0] >= right) | (others[:, 2] <= left) | (others[:, 1] >= bottom) | (others[:, 3] <= top)
    return bool((~apart).any())
