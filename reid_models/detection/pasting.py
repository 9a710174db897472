"""Cutouts put into an image, with soft borders."""

from __future__ import annotations

import cv2
import numpy as np

from reid_models.detection.backgrounds import piece
from reid_models.detection.cutouts import Cutout
from reid_models.detection.furniture import draw_furniture
from reid_models.detection.light import relit
from reid_models.detection.scenes import U8

Box = tuple[float, float, float, float]

_OTHER_TURNS = (1, 2, 3)  # quarter turns after which a person's outline is no person's


def posed(cutout: Cutout, rng: np.random.Generator) -> Cutout:
    """The person as another one: mirrored, slimmer or broader, in other light."""
    height, width = cutout.cover.shape
    size = (max(round(width * rng.uniform(0.88, 1.14)), 2), height)
    image, cover = (cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) for part in (cutout.image, cutout.cover))
    if rng.random() < 0.5:
        image, cover = image[:, ::-1], cover[:, ::-1]
    return Cutout(relit(np.ascontiguousarray(image, np.uint8), rng), np.ascontiguousarray(cover, np.uint8))


def no_person(cutout: Cutout, texture: U8, rng: np.random.Generator) -> Cutout:
    """A thing with the seams of a pasted person: upright furniture, or `texture` in a blob or in the person's outline,
    which lies or stands upside down.
    """
    kind = rng.integers(4)
    if kind < 2:
        return draw_furniture(texture, rng)
    if kind == 2:
        cover = np.rot90(cutout.cover, int(rng.choice(_OTHER_TURNS)))
    else:
        corners = rng.integers(0, 64, (int(rng.integers(4, 9)), 2)).astype(np.int32)
        cover = np.asarray(cv2.fillPoly(np.zeros((64, 64), np.uint8), [corners], 255), np.uint8)
    return Cutout(piece(texture, (cover.shape[0], cover.shape[1]), rng), np.ascontiguousarray(cover))


def paste(image: U8, cutout: Cutout, height_px: float, foot_px: tuple[float, float], rng: np.random.Generator) -> Box:
    """Put the cutout into `image` in place, `height_px` tall, the middle of its lower side at `foot_px` (x, y).

    Returns its box, which may reach over the border.
    """
    scale = height_px / cutout.cover.shape[0]
    height, width = max(round(height_px), 2), max(round(cutout.cover.shape[1] * scale), 2)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    person, cover = (cv2.resize(part, (width, height), interpolation=how) for part in (cutout.image, cutout.cover))
    softness = rng.uniform(0.3, 1.0) * max(height_px / 160, 0.6)
    cover = cv2.GaussianBlur(cover, (0, 0), softness)
    left, top = round(foot_px[0] - width / 2), round(foot_px[1] - height)
    box = (float(left), float(top), float(left + width), float(top + height))
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, image.shape[1]), min(top + height, image.shape[0])
    if x2 > x1 and y2 > y1:
        inner = np.s_[y1 - top : y2 - top, x1 - left : x2 - left]
        share = cover[inner][..., None].astype(np.float32) / 255
        below = image[y1:y2, x1:x2]
        image[y1:y2, x1:x2] = (below + (person[inner].astype(np.float32) - below) * share).astype(np.uint8)
    return box
