"""Four small sets on which generalisation is tested: PRID, GRID, VIPeR and iLIDS, from folders or zip archives.

PRID 2011 (Hirzer et al. 2011), single shot: `single_shot/{cam_a,cam_b}/person_0001.png`; numbers to 200 are the same
people in both cameras, of whom half train; the test asks with camera a and searches the other half and everybody above
200 in camera b. GRID (Loy et al. 2009): `probe/0001_1_25004_107_32_106_221.jpeg` and `gallery/` (identity, camera from
1), 775 distractors named 0000; its ten published splits stand in `features_and_partitions.mat`. VIPeR (Gray et al.
2007): `{cam_a,cam_b}/000_45.bmp`; asks with camera a. iLIDS (Zheng et al. 2009): `Persons/0001001.jpg`, identity and
number; one image of each test person asks and one is searched. iLIDS does not tell cameras, so here every image of a
person counts as another camera, and none is lost to the cross-camera rule.

Where no splits are published, those of `random_splits.py` are used. Report the mean of all ten.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigurationError
from reid_models.datasets.matlab_files import parse_matlab
from reid_models.datasets.random_splits import PEOPLE, SPLITS, drawn, require_split, training_places
from reid_models.datasets.sample import (
    DISTRACTOR,
    ImageArchive,
    ImageDataset,
    ImageSample,
    image_names,
    lies_in,
    numbered,
    open_archive,
)

log = logging.getLogger(__name__)

GRID_PARTITIONS = "features_and_partitions.mat"
PRID_STRANGERS = range(201, 750)  # in camera b; the same numbers in camera a are other people
_PRID_NAME = re.compile(r"^person_(\d{4})\.png$", re.IGNORECASE)
_GRID_NAME = re.compile(r"^(\d{4})_([1-9]\d*)_[\d_]+\.jpe?g$", re.IGNORECASE)
_VIPER_NAME = re.compile(r"^(\d+)_\d+\.bmp$", re.IGNORECASE)
_ILIDS_NAME = re.compile(r"^(\d{4})(\d{3})\.jpg$", re.IGNORECASE)


def read_prid(path: Path, split: int = 0) -> ImageDataset:
    """Raises `ConfigurationError` for an unknown split, and if one of the people is missing."""
    training = {place + 1 for place in training_places("prid", split)}
    archive = open_archive(path)
    first, second = (
        {int(match[1]): name for name, match in _matches(archive, f"single_shot/{folder}", _PRID_NAME).items()}
        for folder in ("cam_a", "cam_b")
    )
    shared = range(1, PEOPLE["prid"] + 1)
    for folder, found, expected in (("cam_a", first, shared), ("cam_b", second, (*shared, *PRID_STRANGERS))):
        missing = sorted(set(expected) - set(found))
        if missing:
            raise ConfigurationError(
                f"{archive.address} has no single_shot/{folder}/person_{missing[0]:04d}.png ({len(missing)} people "
                "are missing); expected the single-shot part of PRID 2011: extract the archive again"
            )
    asking = [ImageSample(archive, first[number], number, 0) for number in shared]
    searched = [ImageSample(archive, second[number], number, 1) for number in (*shared, *PRID_STRANGERS)]
    return _divided("prid", asking, searched, training, f"fixed split {split} of {SPLITS}")


def read_grid(path: Path, split: int = 0) -> ImageDataset:
    """Without the file of the published splits a fixed one of our own is used, and `protocol` says so.

    Raises `ConfigurationError` for an unknown split, missing images and a damaged file of splits.
    """
    require_split("grid", split)
    archive = open_archive(path)
    asking, searched = (
        [ImageSample(archive, name, int(match[1]), int(match[2]) - 1) for name, match in matches.items()]
        for matches in (_matches(archive, folder, _GRID_NAME) for folder in ("probe", "gallery"))
    )
    everybody = set(range(1, PEOPLE["grid"] + 1))
    for folder, samples in (("probe", asking), ("gallery", searched)):
        found = {sample.identity for sample in samples} - {DISTRACTOR}
        if found != everybody:
            raise ConfigurationError(
                f"{archive.address} has {len(found)} people in {folder}/; expected the {len(everybody)} of GRID, 0001 "
                "to 0250: extract the archive again"
            )
    partitions = [name for name in archive.names() if name.rsplit("/", 1)[-1] == GRID_PARTITIONS]
    if partitions:
        training, origin = _grid_partition(archive, partitions[0], split), "published"
    else:
        log.warning("%s has no %s: our own split %d is used", archive.address, GRID_PARTITIONS, split)
        training, origin = {place + 1 for place in training_places("grid", split)}, "not the published, but our fixed"
    return _divided("grid", asking, searched, training, f"{origin} split {split} of {SPLITS}")


def read_viper(path: Path, split: int = 0) -> ImageDataset:
    """Raises `ConfigurationError` for an unknown split, and if the people are not complete."""
    places = training_places("viper", split)
    archive = open_archive(path)
    found = [_matches(archive, folder, _VIPER_NAME) for folder in ("cam_a", "cam_b")]
    numbers = [{int(match[1]) for match in matches.values()} for matches in found]
    if numbers[0] != numbers[1] or any(len(matches) != PEOPLE["viper"] for matches in found):
        counts = " and ".join(str(len(matches)) for matches in found)
        raise ConfigurationError(
            f"{archive.address} has {counts} images in cam_a/ and cam_b/; expected one of each of the same "
            f"{PEOPLE['viper']} people: extract the archive again"
        )
    identity = numbered(numbers[0])
    asking, searched = (
        [ImageSample(archive, name, identity[int(match[1])], camera) for name, match in matches.items()]
        for camera, matches in enumerate(found)
    )
    return _divided("viper", asking, searched, {place + 1 for place in places}, f"fixed split {split} of {SPLITS}")


def read_ilids(path: Path, split: int = 0) -> ImageDataset:
    """Raises `ConfigurationError` for an unknown split, if people are missing, or if somebody has a single image."""
    places = training_places("ilids", split)
    archive = open_archive(path)
    matches = _matches(archive, "Persons", _ILIDS_NAME)
    identity = numbered(int(match[1]) for match in matches.values())
    images: dict[int, list[ImageSample]] = {number: [] for number in identity.values()}
    for name, match in matches.items():
        images[identity[int(match[1])]].append(ImageSample(archive, name, identity[int(match[1])], int(match[2]) - 1))
    single = [samples[0].name for samples in images.values() if len(samples) < 2]
    if len(images) != PEOPLE["ilids"] or single:
        raise ConfigurationError(
            f"{archive.address} has {len(images)} people in Persons/, {len(single)} with one image only "
            f"({', '.join(single[:1]) or 'none'}); expected {PEOPLE['ilids']} with at least two: extract the "
            "archive again"
        )
    train: list[ImageSample] = []
    query, gallery = [], []
    for number, samples in images.items():
        if number - 1 in places:
            train.extend(samples)
        else:
            by_name = {sample.file_name: sample for sample in samples}
            asks, is_searched = drawn(f"ilids/{split}", by_name, 2)
            query.append(by_name[asks])
            gallery.append(by_name[is_searched])
    return ImageDataset("ilids", tuple(train), tuple(query), tuple(gallery), f"fixed split {split} of {SPLITS}")


def _matches(archive: ImageArchive, folder: str, pattern: re.Pattern[str]) -> dict[str, re.Match[str]]:
    """The images of a folder by name. Raises `ConfigurationError` if there are none."""
    inside = [name for name in image_names(archive) if lies_in(name, folder)]
    found = {name: match for name in inside if (match := pattern.match(name.rsplit("/", 1)[-1]))}
    if not found:
        raise ConfigurationError(
            f"{archive.address} has {len(inside)} images in {folder}/ and none is named like {pattern.pattern}; check "
            "the path, or extract the archive again"
        )
    return found


def _grid_partition(archive: ImageArchive, name: str, split: int) -> set[int]:
    place = f"{name} in {archive.address}"
    folds = parse_matlab(archive.read(name), place, ("trainIdxAll",))["trainIdxAll"].ravel()
    expected = f"{SPLITS} records of three fields, the third a list of 125 people"
    if len(folds) != SPLITS:
        raise ConfigurationError(f"{place} has {len(folds)} splits; expected {expected}: copy the file again")
    fields = list(folds[split].dtype.names or ())
    people = set(np.asarray(folds[split][fields[2]][0, 0]).ravel().tolist()) if len(fields) == 3 else set()
    if len(people) != PEOPLE["grid"] // 2:
        raise ConfigurationError(f"{place}, split {split} has {len(people)} people; expected {expected}")
    return people


def _divided(
    name: str, asking: list[ImageSample], searched: list[ImageSample], training: set[int], protocol: str
) -> ImageDataset:
    """All images of the people who train; of the others one part asks and the other is searched."""
    train = tuple(sample for sample in (*asking, *searched) if sample.identity in training)
    query = tuple(sample for sample in asking if sample.identity not in training)
    gallery = tuple(sample for sample in searched if sample.identity not in training)
    return ImageDataset(name, train, query, gallery, protocol)
