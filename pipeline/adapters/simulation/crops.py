"""Simulated people as a training set in the layout of Market-1501, with captions and attributes beside it."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.adapters.simulation.people import Person
from pipeline.adapters.simulation.site import CYCLE_S, SimulatedSite
from pipeline.adapters.simulation.truth import TrueBox, true_boxes
from pipeline.adapters.simulation.words import describe
from pipeline.contracts import Image
from pipeline.errors import ConfigurationError

log = logging.getLogger(__name__)

CROP_SIZE_PX = (64, 128)
_FRAME_RATE = 25  # the numbers in the file names count frames of this rate
_CYCLES = 6
_MIN_VISIBILITY = 0.45
_MIN_HEIGHT_PX = 48


@dataclass(frozen=True, slots=True)
class Caption:
    """One entry of captions.json."""

    image: str
    identity: str
    split: str
    same_frame_images: tuple[str, ...]
    captions: tuple[str, ...]


def write_reid_dataset(
    out_dir: Path,
    seeds: Sequence[int],
    people_per_seed: int = 50,
    *,
    cameras: int = 6,
    images_per_visit: int = 4,
    visits_per_camera: int = 1,
    held_out: float = 0.2,
    first_identity: int = 1,
    progress: Callable[[float], None] | None = None,
) -> int:
    """Write `bounding_box_train`, `query`, `bounding_box_test`, `captions.json` and `attributes.json`.

    Names are `0002_c1s1_000451_03.jpg`: identity, camera, sequence (one for each seed), frame at 25 fps, box. The last
    `held_out` share of the people of each seed is for validation: its first image before each camera is a query.
    `progress` hears shares from 0 to 1. Returns the number of images.
    """
    last = first_identity + people_per_seed * len(seeds) - 1
    if not 1 <= len(seeds) <= 9 or cameras > 9 or last > 9999:
        raise ConfigurationError(
            f"{len(seeds)} seeds, {cameras} cameras, identities up to {last}: names of Market-1501 have one digit "
            "for the sequence, one for the camera and four for the identity; ask for less"
        )
    folders = {name: out_dir / name for name in ("bounding_box_train", "query", "bounding_box_test")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    captions: list[Caption] = []
    attributes: dict[str, dict[str, int | str]] = {}
    for sequence, seed in enumerate(seeds, start=1):
        site = SimulatedSite(seed, cameras, people_per_seed)
        rng = np.random.default_rng([seed, 7])
        for person in site.people:
            identity = f"{first_identity + (sequence - 1) * people_per_seed + person.person_id - 1:04d}"
            split = "val" if person.person_id > round(people_per_seed * (1 - held_out)) else "train"
            attributes[identity] = person.attributes | {"split": split}
            queried: set[int] = set()
            for camera, time_s in _moments(site, person, images_per_visit, visits_per_camera):
                shot = _shoot(site, person, camera, time_s, rng)
                if shot is None:
                    continue
                crop, box, number = shot
                name = f"{identity}_c{camera + 1}s{sequence}_{round(time_s * _FRAME_RATE):06d}_{number:02d}.jpg"
                place = "bounding_box_train"
                if split == "val":
                    place = "bounding_box_test" if camera in queried else "query"
                    queried.add(camera)
                cv2.imwrite(str(folders[place] / name), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
                sentences = tuple(describe(person, rng, _shows_carried(person, box)) for _ in range(2))
                captions.append(Caption(name, identity, split, (), sentences))
            if progress:
                progress((sequence - 1 + person.person_id / people_per_seed) / len(seeds))
    (out_dir / "captions.json").write_text(json.dumps([asdict(caption) for caption in captions], indent=0))
    (out_dir / "attributes.json").write_text(json.dumps(attributes, indent=0))
    log.info("wrote %d crops of %d people to %s", len(captions), len(attributes), out_dir)
    return len(captions)


def _moments(
    site: SimulatedSite, person: Person, images_per_visit: int, visits_per_camera: int
) -> Iterator[tuple[int, float]]:
    """Camera and time of the pictures to take: spread over the first visits before each camera."""
    taken = dict.fromkeys(range(len(site.views)), 0)
    for visit in site.visits(CYCLE_S, (1 + _CYCLES) * CYCLE_S):
        if visit.person_id != person.person_id or taken[visit.camera] >= visits_per_camera:
            continue
        taken[visit.camera] += 1
        for share in np.linspace(0.12, 0.88, images_per_visit):
            time_s = visit.started_s + share * (visit.ended_s - visit.started_s)
            yield visit.camera, round(time_s * _FRAME_RATE) / _FRAME_RATE


def _shoot(
    site: SimulatedSite, person: Person, camera: int, time_s: float, rng: np.random.Generator
) -> tuple[Image, TrueBox, int] | None:
    """A crop as a detector would give it, its true box and number; None if too little of the person is to be seen."""
    boxes = true_boxes(site, camera, time_s)
    for number, box in enumerate(boxes):
        if box.person_id != person.person_id:
            continue
        x1, y1, x2, y2 = box.box_px
        if box.visibility < _MIN_VISIBILITY or y2 - y1 < _MIN_HEIGHT_PX or x2 - x1 < _MIN_HEIGHT_PX / 4:
            return None
        width, height = x2 - x1, y2 - y1
        loose = np.array((x1, y1, x2, y2)) + rng.normal((-0.06, -0.03, 0.06, 0.03), 0.04) * (
            width,
            height,
            width,
            height,
        )
        view = site.views[camera]
        left, top = (int(max(v, 0)) for v in loose[:2])
        right, bottom = min(int(loose[2]) + 1, view.width_px), min(int(loose[3]) + 1, view.height_px)
        crop = site.render(camera, time_s)[top:bottom, left:right]
        return cv2.resize(crop, CROP_SIZE_PX, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False), box, number
    return None


def _shows_carried(person: Person, box: TrueBox) -> bool:
    """A backpack is hidden behind somebody who walks towards the camera; bags at the side always show."""
    return person.carried != "backpack" or math.sin(box.heading) > -0.75
