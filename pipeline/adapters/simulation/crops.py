"""Simulated people as a training set in the layout of Market-1501, with captions and attributes beside it."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.adapters.simulation.people import Carried, Person
from pipeline.adapters.simulation.site import CYCLE_S, SimulatedSite
from pipeline.adapters.simulation.truth import TrueBox, true_boxes
from pipeline.adapters.simulation.words import describe
from pipeline.contracts import F64, Image
from pipeline.errors import ConfigurationError

log = logging.getLogger(__name__)

CROP_SIZE_PX = (64, 128)
_FRAME_RATE = 25  # the numbers in the file names count frames of this rate
_CYCLES = 6
_MIN_VISIBILITY = 0.45
_MIN_HEIGHT_PX = 48
_LOOSE, _LOOSE_SPREAD = (-0.06, -0.03, 0.06, 0.03), 0.04  # of width and height, for x1, y1, x2, y2
_SENTENCES = 2


@dataclass(frozen=True, slots=True)
class Caption:
    """One entry of captions.json."""

    image: str
    identity: str
    split: str
    same_frame_images: tuple[str, ...]
    captions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shot:
    """One crop, 128x64 RGB, with the camera from 0, the site's time and the number of the box in its picture."""

    camera: int
    time_s: float
    number: int
    crop: Image
    shows_carried: bool


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
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        (out_dir / folder).mkdir(parents=True, exist_ok=True)
    captions: list[Caption] = []
    attributes: dict[str, dict[str, int | str]] = {}
    for sequence, seed in enumerate(seeds, start=1):
        site = SimulatedSite(seed, cameras, people_per_seed)
        rng = np.random.default_rng([seed, 7])
        for person in site.people:
            identity = f"{first_identity + len(attributes):04d}"
            split = "val" if person.person_id > round(people_per_seed * (1 - held_out)) else "train"
            attributes[identity] = person.attributes | {"split": split}
            moments = _moments(site, person, images_per_visit, visits_per_camera)
            queried: set[int] = set()
            for shot in _shots(site, person, moments, rng):
                frame = round(shot.time_s * _FRAME_RATE)
                name = f"{identity}_c{shot.camera + 1}s{sequence}_{frame:06d}_{shot.number:02d}.jpg"
                folder = "bounding_box_train"
                if split == "val":
                    folder = "bounding_box_test" if shot.camera in queried else "query"
                    queried.add(shot.camera)
                cv2.imwrite(str(out_dir / folder / name), cv2.cvtColor(shot.crop, cv2.COLOR_RGB2BGR))
                sentences = tuple(describe(person, rng, shot.shows_carried) for _ in range(_SENTENCES))
                captions.append(Caption(name, identity, split, (), sentences))
            if progress:
                progress(len(attributes) / (people_per_seed * len(seeds)))
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


def _shots(
    site: SimulatedSite, person: Person, moments: Iterable[tuple[int, float]], rng: np.random.Generator
) -> Iterator[Shot]:
    """Crops as a detector would give them, of the moments when enough of the person is to be seen."""
    for camera, time_s in moments:
        for number, box in enumerate(true_boxes(site, camera, time_s)):
            if box.person_id == person.person_id and _is_usable(box):
                crop = _cut(site.render(camera, time_s), _loosened(box, rng))
                # A backpack is hidden behind somebody who walks towards the camera; bags at the side always show.
                shows_carried = person.carried is not Carried.BACKPACK or math.sin(box.heading) > -0.75
                yield Shot(camera, time_s, number, crop, shows_carried)


def _is_usable(box: TrueBox) -> bool:
    x1, y1, x2, y2 = box.box_px
    return box.visibility >= _MIN_VISIBILITY and y2 - y1 >= _MIN_HEIGHT_PX and x2 - x1 >= _MIN_HEIGHT_PX / 4


def _loosened(box: TrueBox, rng: np.random.Generator) -> F64:
    """The box with the faults of a detector: mostly a little too large, each side by itself."""
    x1, y1, x2, y2 = box.box_px
    size = np.array((x2 - x1, y2 - y1, x2 - x1, y2 - y1))
    loose: F64 = np.array(box.box_px) + rng.normal(_LOOSE, _LOOSE_SPREAD) * size
    return loose


def _cut(picture: Image, box: F64) -> Image:
    left, top = np.maximum(box[:2], 0).astype(int)
    right, bottom = np.ceil(box[2:]).astype(int)
    return cv2.resize(picture[top:bottom, left:right], CROP_SIZE_PX, interpolation=cv2.INTER_AREA).astype(np.uint8)
