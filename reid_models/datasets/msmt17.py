"""MSMT17 (Wei et al. 2018) in its three layouts, from a folder or a zip archive.

V1: `MSMT17_V1/{train,test}` and `list_{train,val,query,gallery}.txt`, whose lines read
`0000/0000_000_01_0303morning_0015_0.jpg 0`: image below `train` or `test`, and identity from 0. The third field of the
image's name is the camera, from 1. V2 blurs faces and calls the folders `mask_train_v2` and `mask_test_v2`; figures on
it are about 1.7 mAP lower. Repacked: the folders of Market-1501 with names such as `0000_c14_0031.jpg`; cameras have
two digits.

Training and test count their people from 0 each; here every person has an own number, from 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.errors import ConfigurationError
from reid_models.datasets.bounding_boxes import Naming, read_parts
from reid_models.datasets.sample import ImageArchive, ImageDataset, ImageSample, image_names, numbered, open_archive

NAMING = Naming(
    "MSMT17 (repacked)",
    re.compile(r"^(-?\d+)_c(0*[1-9]\d*)_\w+\.(?:jpg|jpeg|png)$", re.IGNORECASE),
    "0000_c14_0031.jpg (identity, camera, number)",
)
VERSIONS = {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}
FIRST_LIST = "list_train.txt"
_LINE = re.compile(r"^(\S+) (\d+)$")
_IMAGE = re.compile(r"^\d+_\d+_(0*[1-9]\d*)_")


def read_msmt17(path: Path, with_validation: bool = True) -> ImageDataset:
    """All parts; the validation list belongs to training, as in most papers, unless it is to be left out.

    Raises `ConfigurationError` if lists or images are missing or malformed, if several versions lie below `path`, and
    for `with_validation=False` on a repacked copy, which no longer tells the two apart.
    """
    archive = open_archive(path)
    lists = [name for name in archive.names() if name.rsplit("/", 1)[-1] == FIRST_LIST]
    if len(lists) > 1:
        raise ConfigurationError(f"{path} holds several copies: {', '.join(lists)}; give the path of one of them")
    if lists:
        return _read_listed(archive, lists[0].removesuffix(FIRST_LIST), with_validation)
    if not with_validation:
        raise ConfigurationError(
            f"{path} has no {FIRST_LIST}, so it is a repacked MSMT17, where the validation images are mixed with the "
            "training images; use the published layout to train without them"
        )
    train, query, gallery = read_parts(archive, NAMING)
    return _dataset(train, query, gallery, "repacked, train and val")


def _read_listed(archive: ImageArchive, top: str, with_validation: bool) -> ImageDataset:
    images = set(image_names(archive))
    folders_there = {name.removeprefix(top).split("/")[0] for name in images if name.startswith(top)}
    version = next((version for version, (train, _) in VERSIONS.items() if train in folders_there), None)
    if version is None:
        folders = " or ".join(train for train, _ in VERSIONS.values())
        raise ConfigurationError(
            f"{archive.address} has {top}{FIRST_LIST} but no images in {folders} beside it; extract the archive again"
        )
    train_folder, test_folder = VERSIONS[version]

    def part(name: str, folder: str) -> tuple[ImageSample, ...]:
        return _read_list(archive, images, f"{top}list_{name}.txt", f"{top}{folder}/")

    train = part("train", train_folder) + (part("val", train_folder) if with_validation else ())
    protocol = f"{version}, train {'and' if with_validation else 'without'} val"
    return _dataset(train, part("query", test_folder), part("gallery", test_folder), protocol)


def _read_list(archive: ImageArchive, images: set[str], name: str, folder: str) -> tuple[ImageSample, ...]:
    samples = []
    for number, line in enumerate(archive.read(name).decode(errors="replace").splitlines(), start=1):
        match = _LINE.match(line)
        camera = match and _IMAGE.match(match[1].rsplit("/", 1)[-1])
        if not match or not camera:
            raise ConfigurationError(
                f"{name} in {archive.address}, line {number} reads {line[:80]!r}; expected an image and an identity "
                "such as '0000/0000_000_01_0303morning_0015_0.jpg 0'"
            )
        samples.append(ImageSample(archive, folder + match[1], int(match[2]), int(camera[1]) - 1))
    missing = [sample.name for sample in samples if sample.name not in images]
    if missing or not samples:
        what = f"{missing[0]} and {len(missing) - 1} more are not there" if missing else "the list is empty"
        raise ConfigurationError(
            f"{name} in {archive.address} names {len(samples)} images, but {what}; extract the archive again"
        )
    return tuple(sorted(samples, key=lambda sample: sample.name))


def _dataset(
    train: Sequence[ImageSample], query: Sequence[ImageSample], gallery: Sequence[ImageSample], protocol: str
) -> ImageDataset:
    """The parts with one number per person: those of training first, those of the test after them."""
    keys = [(0, sample.identity) for sample in train] + [(1, sample.identity) for sample in (*query, *gallery)]
    number = numbered(keys)

    def renumbered(samples: Sequence[ImageSample], part: int) -> tuple[ImageSample, ...]:
        return tuple(replace(sample, identity=number[part, sample.identity]) for sample in samples)

    return ImageDataset("msmt17", renumbered(train, 0), renumbered(query, 1), renumbered(gallery, 1), protocol)
