"""Scenes and person crops made into what pictures are composed of."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from reid_models.datasets.market1501 import read_train
from reid_models.datasets.sample import read_image
from reid_models.detection.composition import Material
from reid_models.detection.cutouts import LEAST_CUTOUTS, Cutout, cut_out_of_crop, people_of
from reid_models.detection.scenes import U8, Scene

log = logging.getLogger(__name__)

_EMPTY_PER_SCENE = 4


def material_of(scenes: Sequence[Scene], crops: Path | None, every_crop: int = 4) -> Material:
    """Cut people out of the scenes and, from a Market-1501 folder or zip, out of every `every_crop`-th training crop.

    Scenes with few whole people lend their backgrounds only.
    """
    kinds: list[Sequence[Cutout]] = []
    for scene in scenes:
        people = list(people_of(scene))
        log.info("%s: %d people cut out", scene.name, len(people))
        if len(people) >= LEAST_CUTOUTS:
            kinds.append(people)
    if crops is not None:
        samples = read_train(crops)[::every_crop]
        kinds.append([cut_out_of_crop(read_image(sample)) for sample in samples])
    empty = [background for scene in scenes for background in _empty(scene)]
    return Material(scenes, empty, kinds)


def _empty(scene: Scene) -> list[U8]:
    """The scene without people, at a few times of its day."""
    count = min(_EMPTY_PER_SCENE, max(1, len(scene.frames) // 100))
    step = len(scene.frames) // count
    return [scene.background(place * step + step // 2) for place in range(count)]
