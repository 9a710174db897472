"""New people out of known ones: the upper half of one picture above the lower half of another, often in other colours.

A training set of some hundred identities holds few outfits. What a teacher network says about invented ones (see
`teacher.py`) shows a student many more, and where the colours were kept their attributes are known, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from reid_models.datasets.attribute_sentences import LOWER_COLOURS, UNTOLD, UPPER_COLOURS
from reid_models.datasets.sample import I64
from reid_models.datasets.training_sets import U8

WAIST = (0.42, 0.58)  # where the halves meet, as a share of the height
SEAM_PX = 6  # rows over which one half fades into the other, in pictures of 128 rows
ONE_PERSON = 0.3  # share of composites whose halves are of one picture: only colours change
RECOLOURED = 0.5  # share of halves in other colours
SATURATION, BRIGHTNESS = (0.5, 1.6), (0.7, 1.3)


@dataclass(frozen=True, slots=True, eq=False)
class Composites:
    """N invented people."""

    images: U8  # (N, H, W, 3) RGB
    upper: I64  # (N,) place of the picture above the waist
    lower: I64  # (N,) place of the picture below it
    recoloured: npt.NDArray[np.bool_]  # (N, 2) whether the upper and the lower half have other colours now


def draw_composites(images: U8, count: int, rng: np.random.Generator) -> Composites:
    """`count` composites of `images` (M, H, W, 3)."""
    upper = rng.integers(len(images), size=count)
    lower = np.where(rng.random(count) < ONE_PERSON, upper, rng.integers(len(images), size=count))
    recoloured = rng.random((count, 2)) < RECOLOURED
    made = np.empty((count, *images.shape[1:]), np.uint8)
    for place in range(count):
        halves = [images[upper[place]], images[lower[place]]]
        halves = [
            recolour(half, rng) if is_changed else half
            for half, is_changed in zip(halves, recoloured[place], strict=True)
        ]
        made[place] = joined(halves[0], halves[1], rng.uniform(*WAIST))
    return Composites(made, upper, lower, recoloured)


def joined(above: U8, below: U8, waist: float) -> U8:
    """(H, W, 3) `above` down to the share `waist` of the height, `below` from there, fading over a few rows."""
    height = len(above)
    seam = SEAM_PX * height / 128
    share = np.clip((np.arange(height) + 0.5 - waist * height) / seam + 0.5, 0.0, 1.0)[:, None, None]
    return np.asarray(np.rint((1.0 - share) * above + share * below), np.uint8)


def recolour(image: U8, rng: np.random.Generator) -> U8:
    """(H, W, 3) RGB with its hues turned by one random angle, more or less saturated and bright."""
    hue, saturation, value = cv2.split(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV))
    turned = (hue.astype(np.int64) + rng.integers(180)) % 180  # OpenCV counts hues in steps of two degrees
    scaled = [
        np.clip(channel * rng.uniform(*bounds), 0, 255)
        for channel, bounds in ((saturation, SATURATION), (value, BRIGHTNESS))
    ]
    changed = cv2.merge([channel.astype(np.uint8) for channel in (turned, *scaled)])
    return np.asarray(cv2.cvtColor(changed, cv2.COLOR_HSV2RGB), np.uint8)


def joined_attributes(
    upper: Mapping[str, int], lower: Mapping[str, int], recoloured: tuple[bool, bool]
) -> dict[str, int]:
    """What is known of a composite (coding: `attribute_sentences.py`); `UNTOLD` where nothing is.

    The upper half shows the head and what is worn above the waist. A bag hangs across it: it is known where both agree.
    """
    known = {name: lower[name] if name == "clothes" or name.startswith("down") else upper[name] for name in upper}
    for name in ("bag", "handbag"):
        known[name] = upper[name] if upper[name] == lower[name] else UNTOLD
    for half, colours, is_changed in zip(("up", "down"), (UPPER_COLOURS, LOWER_COLOURS), recoloured, strict=True):
        if is_changed:
            known |= {f"{half}{colour}": UNTOLD for colour in colours}
    return known
