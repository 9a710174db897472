"""How well a network finds the people of scenes, and from which score on it should say so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pipeline.boxes import areas, intersections, overlaps, suppress
from pipeline.contracts import F32, Detections
from pipeline.errors import ConfigurationError
from reid_models.detection.backgrounds import Size
from reid_models.detection.boxes import decode
from reid_models.detection.pictures import Picture, window
from reid_models.detection.scenes import NOBODY, U8, Scene
from reid_models.detection.training import network_input

_SAME_PERSON_OVERLAP = 0.5
_MAX_OVERLAP = 0.65  # of boxes that stay, as the detector is run
_LEAST_SCORE, _MOST_BOXES = 0.05, 300


@dataclass(frozen=True, slots=True)
class ScoreChoice:
    """The score from which on a box counts, and what follows from it on the scenes it was chosen on."""

    sure_score: float
    f1: float
    precision: float
    recall: float
    people: int


@torch.no_grad()
def find(network: nn.Module, image: U8, size: Size) -> Detections:
    """The people in an image (H, W, 3) RGB that is fitted into the corner of `size`, the rest grey."""
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    fitted = window(Picture(image, NOBODY, NOBODY), scale, (0.0, 0.0), size).image
    outputs = network(network_input([fitted])).float()
    scores = outputs[0, :, 4].sigmoid().numpy()
    best = np.argsort(-scores)[:_MOST_BOXES]
    best = best[scores[best] >= _LEAST_SCORE]
    boxes = np.asarray(decode(outputs, *size)[0].numpy()[best] / scale, np.float32)
    kept = suppress(boxes, scores[best], _MAX_OVERLAP)
    return Detections(boxes[kept], scores[best][kept])


def choose_score(found: Iterable[Detections], people: Sequence[F32], doubtful: Sequence[F32]) -> ScoreChoice:
    """The score of the greatest F1 at overlap 0.5, from what was found in each frame.

    The best box of a person is right, further ones are wrong; boxes mostly within a doubtful one count neither way.
    Raises `ConfigurationError` where nobody was found.
    """
    ranked: list[tuple[float, bool]] = []
    for seen, true, unsure in zip(found, people, doubtful, strict=True):
        ranked += _judged(seen, true, unsure)
    ranked.sort(key=lambda entry: -entry[0])
    total = sum(map(len, people))
    if not any(is_right for _, is_right in ranked):
        raise ConfigurationError(f"the network found none of {total} people; expected a trained one: train longer")
    hits = np.cumsum([is_right for _, is_right in ranked])
    count = np.arange(1, len(ranked) + 1)
    f1 = 2 * hits / (count + total)
    best = int(np.argmax(f1))
    return ScoreChoice(
        ranked[best][0], float(f1[best]), float(hits[best] / count[best]), float(hits[best] / total), total
    )


def choose_score_on(network: nn.Module, scenes: Sequence[Scene], size: Size) -> ScoreChoice:
    """The same for all frames of scenes."""
    found = (find(network, image, size) for scene in scenes for image in scene.frames)
    return choose_score(
        found,
        [boxes for scene in scenes for boxes in scene.people],
        [boxes for scene in scenes for boxes in scene.doubtful],
    )


def _judged(seen: Detections, people: F32, doubtful: F32) -> list[tuple[float, bool]]:
    """Score and rightness of each box that counts."""
    overlap = overlaps(people, seen.boxes)
    is_free = np.ones(len(people), bool)
    unsure = intersections(seen.boxes, doubtful) / np.maximum(areas(seen.boxes), 1e-6)[:, None]
    judged = []
    for box in np.argsort(-seen.scores, kind="stable"):
        fits = np.where(is_free, overlap[:, box], 0.0)
        person = int(np.argmax(fits)) if len(fits) else -1
        is_right = person >= 0 and fits[person] >= _SAME_PERSON_OVERLAP
        if is_right:
            is_free[person] = False
        elif (unsure[box] > _SAME_PERSON_OVERLAP).any():
            continue
        judged.append((float(seen.scores[box]), bool(is_right)))
    return judged
