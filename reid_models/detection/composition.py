"""Where training pictures come from: windows of real scenes, people put before other backgrounds, mosaics of both.

A detector that has seen five scenes knows five scenes. Most pictures are therefore composed: anybody before anything,
at any size, in any light, with shapes pasted in the same way that are no people, so that a seam says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.contracts import F64
from pipeline.errors import ConfigurationError
from reid_models.detection.backgrounds import Size, clutter, draw_background
from reid_models.detection.cutouts import LEAST_CUTOUTS, Cutout
from reid_models.detection.light import recoloured, relit, worn
from reid_models.detection.pasting import no_person, paste, posed
from reid_models.detection.pictures import Picture, clipped, hidden_share, mirrored, mosaic, window
from reid_models.detection.scenes import NOBODY, U8, Scene

_HIDDEN = 0.7  # share of a person behind one other at which nobody should be found


@dataclass(frozen=True, slots=True)
class CompositionConfig:
    """Shares and sizes of what is drawn. Heights are of people in pixels of the network's input."""

    real_share: float = 0.5  # the rest is composed
    mosaic_share: float = 0.2
    extra_people_share: float = 0.35  # of real windows that get more people
    height_px: tuple[float, float] = (22.0, 260.0)
    most_things: int = 6  # that are no people
    most_people: int = 12
    scene_weights: Mapping[str, float] = field(default_factory=lambda: {"simulated": 0.35})
    """By family; 1 for others, each times the root of its people."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What pictures are made of. `cutouts` are kinds of people, by origin."""

    scenes: Sequence[Scene]
    empty: Sequence[U8]  # scenes without people
    cutouts: Sequence[Sequence[Cutout]]


class Composer:
    """Draws pictures; everything follows from the generator that is passed in.

    Raises `ConfigurationError` where there is nobody to put into them.
    """

    def __init__(self, material: Material, config: CompositionConfig) -> None:
        if not material.scenes or not material.cutouts:
            raise ConfigurationError(
                f"{len(material.scenes)} scenes with no people to cut out; expected one where at least {LEAST_CUTOUTS} "
                "walk freely, or a folder of person crops"
            )
        self._material, self._config = material, config
        self._scene_shares = _scene_shares(material.scenes, config.scene_weights)
        # By the root of their number: a kind of few people must not be learnt by heart.
        counts = np.sqrt([len(kind) for kind in material.cutouts])
        self._kind_shares = counts / counts.sum()

    def draw(self, size: Size, rng: np.random.Generator) -> Picture:
        """One picture of `size` (height, width) with its boxes."""
        config = self._config
        if rng.random() < config.mosaic_share:
            picture = self._mosaic(size, rng)
        else:
            picture = self._part(size, config.height_px, rng)
        if rng.random() < 0.5:
            picture = mirrored(picture)
        image = relit(picture.image, rng, 0.7) if rng.random() < 0.7 else picture.image
        image = recoloured(image, rng) if rng.random() < 0.35 else image
        return Picture(worn(image, rng), picture.people, picture.doubtful)

    def _part(self, size: Size, height_px: tuple[float, float], rng: np.random.Generator) -> Picture:
        if rng.random() >= self._config.real_share:
            image = draw_background(self._material.empty, size, rng)
            count = 0 if rng.random() < 0.1 else min(1 + rng.poisson(3.5), self._config.most_people)
            return self._peopled(Picture(image, NOBODY, NOBODY), count, height_px, rng)
        picture = self._real(size, height_px, rng)
        if rng.random() < self._config.extra_people_share:
            picture = self._peopled(picture, 1 + rng.poisson(1.5), height_px, rng)
        return picture

    def _real(self, size: Size, height_px: tuple[float, float], rng: np.random.Generator) -> Picture:
        """A window of a real frame around one of its people, who gets a height by chance."""
        scene = self._material.scenes[rng.choice(len(self._scene_shares), p=self._scene_shares)]
        place = int(rng.integers(len(scene.frames)))
        picture = Picture(scene.frames[place], scene.people[place], scene.doubtful[place])
        height, width = picture.image.shape[:2]
        # Half of the window at least is picture, and pixels are not blown up without limit.
        smallest, largest = 0.7 * max(size[0] / height, size[1] / width), 2.2
        if len(picture.people):
            person = picture.people[rng.integers(len(picture.people))]
            wanted = _log_uniform(height_px, rng) / max(float(person[3] - person[1]), 1.0)
            middle = (person[:2] + person[2:]) / 2
        else:
            wanted = float(rng.uniform(0.5, 1.5))
            middle = rng.uniform(0, 1, 2) * (width, height)
        scale = min(max(wanted, smallest), max(largest, smallest))
        left = middle[0] * scale - rng.uniform(0.15, 0.85) * size[1]
        top = middle[1] * scale - rng.uniform(0.15, 0.85) * size[0]
        left, top = (
            float(np.clip(start, min(0.0, shown - side), max(0.0, shown - side)))
            for start, shown, side in ((left, width * scale, size[1]), (top, height * scale, size[0]))
        )
        return window(picture, scale, (left, top), size)

    def _mosaic(self, size: Size, rng: np.random.Generator) -> Picture:
        """Four smaller pictures side by side."""
        low, high = self._config.height_px
        across, down = (int(side * rng.uniform(0.3, 0.7)) for side in (size[1], size[0]))
        sizes = [(rows, columns) for rows in (down, size[0] - down) for columns in (across, size[1] - across)]
        return mosaic([self._part(part, (low * 0.8, high * 0.6), rng) for part in sizes])

    def _peopled(
        self, picture: Picture, count: int, height_px: tuple[float, float], rng: np.random.Generator
    ) -> Picture:
        """Put `count` people into the picture, the lower the nearer, behind them some things that are no people."""
        image = picture.image.copy()
        height, width = image.shape[:2]
        for _ in range(int(rng.integers(self._config.most_things + 1))):
            thing = no_person(self._cutout(rng), draw_background(self._material.empty, (96, 64), rng), rng)
            place = (rng.uniform(0, width), rng.uniform(0, height))
            paste(image, thing, _log_uniform(height_px, rng) * rng.uniform(0.4, 1.0), place, rng)
        pasted = np.array(
            [
                paste(image, posed(self._cutout(rng), rng), tall, (middle, foot), rng)
                for tall, middle, foot in _places(count, (height, width), height_px, rng)
            ],
            np.float32,
        ).reshape(-1, 4)
        if rng.random() < 0.15:
            clutter(image, 2, rng)
        before = np.concatenate([picture.people, pasted])
        behind = [hidden_share(pasted[place : place + 1], pasted[place + 1 :]) for place in range(count)]
        is_hidden = np.concatenate([hidden_share(picture.people, pasted), *behind]) > _HIDDEN
        doubtful = np.concatenate([picture.doubtful, before[is_hidden]])
        return clipped(Picture(image, before[~is_hidden], doubtful))

    def _cutout(self, rng: np.random.Generator) -> Cutout:
        kind = self._material.cutouts[int(rng.choice(len(self._kind_shares), p=self._kind_shares))]
        return kind[int(rng.integers(len(kind)))]


def _places(
    count: int, size: Size, height_px: tuple[float, float], rng: np.random.Generator
) -> list[tuple[float, float, float]]:
    """Height, middle and foot of people, the farthest first: as on a plain seen from above, or anyhow.

    A third stand close to the one drawn before.
    """
    height, width = size
    base = _log_uniform(height_px, rng)
    is_plain = rng.random() < 0.6
    horizon = rng.uniform(-1.0, 0.3) * height
    found: list[tuple[float, float, float]] = []
    for _ in range(count):
        tall = min(max(base * math.exp(rng.normal(0, 0.35)), height_px[0]), height_px[1])
        middle, foot = rng.uniform(0, width), rng.uniform(0.25 * tall, height + 0.3 * tall)
        if is_plain:
            foot = rng.uniform(0.15 * height, 1.1 * height)
            tall = base * max((foot - horizon) / (0.7 * height - horizon), 0.1) * math.exp(rng.normal(0, 0.07))
            tall = min(max(tall, height_px[0]), height_px[1] * 1.2)
        if found and rng.random() < 0.33:
            near_tall, near_middle, near_foot = found[-1]
            middle, foot = near_middle + rng.normal(0, 0.35) * near_tall, near_foot + rng.normal(0, 0.06) * near_tall
            tall = near_tall * math.exp(rng.normal(0, 0.06))
        found.append((tall, middle, foot))
    return sorted(found, key=lambda place: place[2])


def _scene_shares(scenes: Sequence[Scene], weights: Mapping[str, float]) -> F64:
    """How often each scene is drawn: by the root of its people, since frames of one scene are much alike.

    Scenes of a family share what one scene of all their people would get.
    """
    families = [scene.family for scene in scenes]
    people = np.array([sum(map(len, scene.people)) + 1 for scene in scenes], np.float64)
    totals = {family: people[[other == family for other in families]].sum() for family in families}
    shares = [
        weights.get(family, 1.0) * math.sqrt(totals[family]) * count / totals[family]
        for family, count in zip(families, people, strict=True)
    ]
    return np.asarray(shares / np.sum(shares), np.float64)


def _log_uniform(limits: tuple[float, float], rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(math.log(limits[0]), math.log(limits[1])))
