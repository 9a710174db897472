"""Stand-ins for people: scenes of a blue-and-red figure that walks over noisy grey ground."""

from __future__ import annotations

import cv2
import numpy as np

from reid_models.detection.cutouts import Cutout
from reid_models.detection.scenes import NOBODY, Scene

FIGURE_PX = (24, 72)  # width, height


def ground(rng: np.random.Generator, height: int = 160, width: int = 240) -> np.ndarray:
    noise = rng.normal(0, 3, (height, width, 1))
    return np.clip(np.full((height, width, 3), 110.0) + noise, 0, 255).astype(np.uint8)


def draw_figure(image: np.ndarray, left: int, top: int) -> tuple[float, float, float, float]:
    """A head, a torso and legs; returns the box."""
    width, height = FIGURE_PX
    cv2.rectangle(image, (left, top + 14), (left + width - 1, top + 42), (180, 30, 30), -1)
    cv2.rectangle(image, (left + 5, top + 42), (left + width - 6, top + height - 1), (20, 30, 160), -1)
    cv2.circle(image, (left + width // 2, top + 8), 8, (230, 190, 160), -1)
    return (left, top, left + width, top + height)


def walk(frames: int = 40, name: str = "yard") -> Scene:
    """One figure crosses the picture from left to right."""
    images, boxes = [], []
    for frame in range(frames):
        image = ground(np.random.default_rng(frame))
        box = draw_figure(image, 4 + int(frame * 200 / frames), 50)
        images.append(image)
        boxes.append(np.array([box], np.float32))
    return Scene(name, np.stack(images), tuple(boxes), (NOBODY,) * frames)


def figure() -> Cutout:
    image = np.zeros((FIGURE_PX[1], FIGURE_PX[0], 3), np.uint8)
    draw_figure(image, 0, 0)
    return Cutout(image, np.where(image.any(axis=2), 255, 0).astype(np.uint8))
