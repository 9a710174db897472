"""How the people of one camera look, cheaply: colours of horizontal bands of their boxes, kept for each track.

A look tells apart two people who cross or who meet at the border of the picture. It is not for other cameras, and no
worker sends it. To weigh looks beside motion, and to learn them from what is seen well, is the idea of Maggiolino et
al., "Deep OC-SORT: Multi-Pedestrian Tracking by Adaptive Re-Identification" (ICIP 2023); here with colours in the place
of a network. Histograms are compared by their Bhattacharyya coefficient, as in Comaniciu et al., "Kernel-Based Object
Tracking" (PAMI 2003).

Two looks are as different as the half of the bands that differs least: a sign or a car hides a part of somebody, and
what is left of them is still the same. With all bands alike a sign on PETS09-S2L1 takes 8 points of IDF1.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.boxes import Boxes, Numbers, areas, intersections
from pipeline.contracts import F64, I64, Image

BANDS, _ROWS, _COLUMNS = 6, 30, 10  # bands of a box from head to foot; pixels that it is reduced to, down and across
_BINS = 8  # of each channel
_SIZE = 3 * _BINS
_LEVELS = 128  # of each channel, two of the 256 as one
_LOW = np.array([0.0, 88.0, 88.0])  # of L, a and b as OpenCV scales them; clothes are seldom more colourful than that
_STEP = np.array([256.0, 80.0, 80.0]) / _BINS
_LEFT, _RIGHT, _TOP, _BOTTOM = 3 / 16, 13 / 16, 1 / 32, 31 / 32  # of the box: beside a person there is background
_COUNTS_AS_BOX = 0.3  # score of a box that hides another one
_SAME_BOX = 0.9  # a box inside another by more is a second box on the same person, and hides nobody


@dataclass(frozen=True, slots=True)
class LookConfig:
    """When a look counts. A difference is from 0 to 1."""

    alike: float = 0.25  # up to here two looks are the same
    different: float = 0.35  # from here on they are two people's
    memory_s: float = 2.0  # of a track's look
    least_visible: float = 0.5  # share of a box under no nearer one; with less its look says nothing
    most_covered: float = 0.3  # by any one other box; with more the look is not learnt
    least_views: int = 2  # that were learnt


@dataclass(frozen=True, slots=True)
class Looks:
    """Looks of N boxes. A band that is hidden is all zeros, another one sums to 3: one for each channel."""

    colours: F64  # (N, BANDS, 24) shares of pixels
    visible: F64  # (N,) share of pixels under no nearer box
    covered: F64  # (N,) largest share that lies in one other box, nearer or not

    def __getitem__(self, rows: I64) -> Looks:
        return Looks(self.colours[rows], self.visible[rows], self.covered[rows])


def describe(image: Image, boxes: Boxes, scores: Numbers) -> Looks:
    """The looks of `boxes` (N, 4) in the frame `image`, of which nothing is copied but a few pixels of each box."""
    pixels = _reduced(image, boxes)
    is_visible, covered = _covering(boxes, scores)
    return Looks(_colours(pixels, is_visible), is_visible.mean(axis=(1, 2)), covered)


def difference(first: F64, second: F64) -> F64:
    """(T, BANDS, 24), (N, BANDS, 24) → (T, N) Hellinger distance of the half of the bands that differs least."""
    alike = np.sqrt(first).transpose(1, 0, 2) @ np.sqrt(second).transpose(1, 2, 0) / 3  # (BANDS, T, N)
    alike.sort(axis=0)
    best: F64 = alike[BANDS // 2 :].mean(axis=0)
    return np.sqrt(np.clip(1 - best, 0.0, 1.0))


class TrackLooks:
    """The looks of T tracks, as rows in the order of creation."""

    def __init__(self, config: LookConfig) -> None:
        self._config = config
        self._colours: F64 = np.zeros((0, BANDS, _SIZE))
        self._views: F64 = np.zeros(0)  # that were learnt

    def unlikeness(self, seen: Looks | None, boxes: int) -> F64:
        """(T, N) from 0, the same look, to 1, another person's; 0 also where nothing is known, as of a None `seen`."""
        config = self._config
        if seen is None:
            return np.zeros((len(self._views), boxes))
        steps = (difference(self._colours, seen.colours) - config.alike) / (config.different - config.alike)
        is_known = (self._views >= config.least_views)[:, None] & (seen.visible >= config.least_visible)
        return np.where(is_known, np.clip(steps, 0.0, 1.0), 0.0)

    def learn(self, rows: I64, seen: Looks, elapsed_s: F64) -> None:
        """Take in `seen`, the looks of `rows`, `elapsed_s` (N,) after the last; none behind or before others."""
        is_clear = seen.covered <= self._config.most_covered
        rows, colours = rows[is_clear], seen.colours[is_clear]
        self._views[rows] += 1
        share = np.maximum(1 / self._views[rows], 1 - np.exp(-elapsed_s[is_clear] / self._config.memory_s))
        before, is_seen = self._colours[rows], colours.any(axis=2)
        weight = np.where(before.any(axis=2), share[:, None], 1.0) * is_seen
        self._colours[rows] = before + weight[:, :, None] * (colours - before)

    def append(self, seen: Looks | None, boxes: int) -> None:
        """New tracks, which begin with `boxes` boxes that look like `seen`."""
        colours = np.zeros((boxes, BANDS, _SIZE)) if seen is None else seen.colours
        views = np.zeros(boxes) if seen is None else (seen.covered <= self._config.most_covered).astype(np.float64)
        self._colours = np.concatenate([self._colours, colours])
        self._views = np.concatenate([self._views, views])

    def keep(self, rows: I64) -> None:
        self._colours, self._views = self._colours[rows], self._views[rows]


def _reduced(image: Image, boxes: Boxes) -> Image:
    """(N, rows, columns, 3) the middle of each box, averaged to few pixels; black where it is out of the picture."""
    height, width = image.shape[:2]
    inside = np.clip(boxes, 0, [width, height, width, height])
    x, y = inside[:, 0], inside[:, 1]
    wide, tall = inside[:, 2] - x, inside[:, 3] - y
    left, right = (x + _LEFT * wide).astype(int).tolist(), np.ceil(x + _RIGHT * wide).astype(int).tolist()
    top, bottom = (y + _TOP * tall).astype(int).tolist(), np.ceil(y + _BOTTOM * tall).astype(int).tolist()
    pixels = np.zeros((len(boxes), _ROWS, _COLUMNS, 3), np.uint8)
    for row, (x1, y1, x2, y2) in enumerate(zip(left, top, right, bottom, strict=True)):
        if x1 < x2 and y1 < y2:
            # Of somebody tall every second or third pixel tells as much, and averaging is what looks cost most.
            part = image[y1 : y2 : max((y2 - y1) // (2 * _ROWS), 1), x1 : x2 : max((x2 - x1) // (2 * _COLUMNS), 1)]
            cv2.resize(part, (_COLUMNS, _ROWS), dst=pixels[row], interpolation=cv2.INTER_AREA)
    return pixels


def _covering(boxes: Boxes, scores: Numbers) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.bool_]], F64]:
    """Which pixels (N, rows, columns) of each box are under no nearer box, and `Looks.covered`.

    Nearer is who stands lower in the picture: cameras look down.
    """
    is_visible = np.ones((len(boxes), _ROWS, _COLUMNS), bool)
    shared = intersections(boxes, boxes) / np.maximum(areas(boxes), 1e-9)[:, None]
    np.fill_diagonal(shared, 0.0)
    shared *= scores >= _COUNTS_AS_BOX
    hides = (shared > 0) & (shared < _SAME_BOX) & (boxes[:, 3] > boxes[:, None, 3])
    for row, other in np.argwhere(hides).tolist():
        x, y, right, bottom = boxes[row]
        wide, tall = (right - x) * (_RIGHT - _LEFT) / _COLUMNS, (bottom - y) * (_BOTTOM - _TOP) / _ROWS
        x, y = x + _LEFT * (right - x), y + _TOP * (bottom - y)
        x1, x2 = int(np.floor((boxes[other, 0] - x) / wide)), int(np.ceil((boxes[other, 2] - x) / wide))
        y1, y2 = int(np.floor((boxes[other, 1] - y) / tall)), int(np.ceil((boxes[other, 3] - y) / tall))
        is_visible[row, max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = False
    return is_visible, shared.max(axis=1, initial=0.0)


def _colours(pixels: Image, is_visible: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> F64:
    """(N, BANDS, 24) histograms of L, a and b; a pixel counts for the two bins that it lies between."""
    boxes = len(pixels)
    if not boxes:
        return np.zeros((0, BANDS, _SIZE))
    lab = cv2.cvtColor(pixels.reshape(boxes * _ROWS, _COLUMNS, 3), cv2.COLOR_RGB2LAB)
    lab = np.asarray(lab, np.uint8).reshape(boxes * BANDS, -1, 3)  # (N * BANDS, pixels, channels)
    # Counted level by level and then shared out, because a table of levels is much smaller than one of pixels.
    start = (np.arange(boxes * BANDS)[:, None, None] * 3 + np.arange(3)) * _LEVELS
    weights = None if is_visible.all() else np.repeat(is_visible.ravel(), 3)
    counts = np.bincount((start + (lab >> 1)).ravel(), weights, boxes * BANDS * 3 * _LEVELS)
    shares = np.einsum("ncl,clb->ncb", counts.reshape(-1, 3, _LEVELS), _SHARES, optimize=True)
    histograms = shares.reshape(boxes, BANDS, _SIZE)
    normed: F64 = histograms * 3 / np.maximum(histograms.sum(axis=2, keepdims=True), 1e-9)
    return normed


def _shares() -> F64:
    """(3, levels, bins) which share of a pixel of each level of L, a and b counts for each bin."""
    place = np.clip((2 * np.arange(_LEVELS) + 0.5 - _LOW[:, None]) / _STEP[:, None] - 0.5, 0.0, _BINS - 1.0)
    share: F64 = np.clip(1 - np.abs(place[:, :, None] - np.arange(_BINS)), 0.0, 1.0)
    return share


_SHARES = _shares()
