"""Scenes and person crops made into what pictures are composed of."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from reid_models.datasets.market1501 import read_train
from reid_models.datasets.sample import read_image
from reid_models.detection.composition import Material
from reid_models.detection.cutouts import LEAST_CUTOUTS, Cutout, cut_out_of_crop, people_of
from reid_models.detection.scenes import U8, Scene

log = logging.getLogger(__name__)

_EMPTY_PER_FAMILY = 12
_FRAMES_PER_EMPTY = 90  # of one camera; its light changes slowly


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
    families = {scene.family: [other for other in scenes if other.family == scene.family] for scene in scenes}
    empty = [background for family in families.values() for background in _empty(family)]
    return Material(scenes, empty, kinds)


def _empty(family: Sequence[Scene]) -> list[U8]:
    """Scenes of one kind without people, at several times of their day; not more of one kind than of another."""
    step = max(1, math.ceil(len(family) / _EMPTY_PER_FAMILY))
    chosen = family[::step]
    found = []
    for scene in chosen:
        count = min(_EMPTY_PER_FAMILY // len(chosen), max(1, len(scene.frames) // _FRAMES_PER_EMPTY))
        apart = len(scene.frames) // count
        found += [scene.background(place * apart + apart // 2) for place in range(count)]
    return found
