"""CUHK03 (Li et al. 2014) with labeled or detected boxes, from a folder.

(a) As published: `cuhk03_release/cuhk-03.mat`, and for the new protocol (Zhong et al. 2017)
`cuhk03_new_protocol_config_{labeled,detected}.mat` beside or below. (b) Repacked as CUHK03-NP:
`cuhk03-np/{labeled,detected}/{bounding_box_train,query,bounding_box_test}/0001_c1_1.png`, new protocol only; also as
zip.

New protocol: 767 people train, 700 test. Classic protocol: 20 splits of 1,367 and 100 people; every test image asks and
is searched, whereas the published figures draw one gallery image per person a hundred times, so scores do not compare.
The camera is the view, 0 or 1, in both forms: the pairs of cameras share no people.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigurationError
from reid_models.datasets.bounding_boxes import FOLDERS, Naming, read_parts
from reid_models.datasets.cuhk03_matlab import Cuhk03Matlab
from reid_models.datasets.matlab_files import parse_matlab
from reid_models.datasets.sample import ImageDataset, ImageSample, numbered, open_archive

BOXES = ("labeled", "detected")
PROTOCOLS = ("new", "classic")
MATLAB_FILE = "cuhk-03.mat"
NAMING = Naming(
    "CUHK03-NP",
    re.compile(r"^(-?\d+)_c([12])_\d+\.(?:jpg|jpeg|png)$", re.IGNORECASE),
    "0001_c1_1.png (identity, camera, number), below labeled/ or detected/",
)


def read_cuhk03(path: Path, boxes: str = "detected", protocol: str = "new", split: int = 0) -> ImageDataset:
    """`split` counts the classic splits from 0.

    Raises `ConfigurationError` for an unknown choice, for missing or malformed files, and if h5py is needed but absent.
    """
    for choice, known in ((boxes, BOXES), (protocol, PROTOCOLS)):
        if choice not in known:
            raise ConfigurationError(f"CUHK03 has no {choice!r}; expected one of {', '.join(known)}")
    matlab_file = _below(path, MATLAB_FILE)
    if matlab_file is None and protocol == "classic":
        raise ConfigurationError(f"the classic splits of CUHK03 stand in {MATLAB_FILE}, which is not below {path}")
    if matlab_file is None:
        train, query, gallery = read_parts(open_archive(path), NAMING, [f"{boxes}/{part}" for part in FOLDERS])
        return ImageDataset("cuhk03", train, query, gallery, f"767/700, {boxes}")
    images = Cuhk03Matlab(matlab_file, boxes)
    if protocol == "classic":
        return _classic(images, boxes, split)
    name = f"cuhk03_new_protocol_config_{boxes}.mat"
    lists = _below(path, name)
    if lists is None:
        raise ConfigurationError(f"{path} has {MATLAB_FILE} but no {name}; get it from the page of the new protocol")
    return _new(images, lists, boxes)


def _new(images: Cuhk03Matlab, path: Path, boxes: str) -> ImageDataset:
    lists = parse_matlab(path.read_bytes(), str(path), ("filelist", "labels", "train_idx", "query_idx", "gallery_idx"))
    names = [str(np.asarray(name).item()) for name in lists["filelist"].ravel()]
    labels = lists["labels"].ravel()
    missing = sorted(set(names) - set(images.names()))
    if missing or len(names) != len(labels):
        raise ConfigurationError(
            f"{path} lists {len(names)} images and {len(labels)} labels, {len(missing)} of the images are not in "
            f"{images.address} ({', '.join(missing[:1]) or 'none'}); expected both files for {boxes} boxes"
        )

    def part(key: str) -> tuple[ImageSample, ...]:
        places = lists[key].ravel().astype(int) - 1  # MATLAB counts from 1
        samples = (ImageSample(images, names[at], int(labels[at]), _view(names[at])) for at in places)
        return tuple(sorted(samples, key=lambda sample: sample.name))

    return ImageDataset("cuhk03", part("train_idx"), part("query_idx"), part("gallery_idx"), f"767/700, {boxes}")


def _classic(images: Cuhk03Matlab, boxes: str, split: int) -> ImageDataset:
    if not 0 <= split < len(images.test_sets):
        raise ConfigurationError(f"CUHK03 has no classic split {split}; expected 0 to {len(images.test_sets) - 1}")
    person = {name: (int(name.split("_")[0]), int(name.split("_")[1])) for name in images.names()}
    identity = numbered(person.values())
    test_people = images.test_sets[split]
    train: list[ImageSample] = []
    test: list[ImageSample] = []
    for name, key in person.items():
        sample = ImageSample(images, name, identity[key], _view(name))
        (test if key in test_people else train).append(sample)
    protocol = f"classic split {split} of {len(images.test_sets)}, {boxes}"
    return ImageDataset("cuhk03", tuple(train), tuple(test), tuple(test), protocol)


def _view(name: str) -> int:
    return int(name.split("_")[2]) - 1


def _below(path: Path, name: str) -> Path | None:
    """The first file of that name in the folder or below it."""
    return min(path.rglob(name), default=None) if path.is_dir() else None
