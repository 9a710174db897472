"""The folder layout that Market-1501 began: `bounding_box_train`, `query` and `bounding_box_test` full of crops.

DukeMTMC-reID, CUHK03-NP and repacked MSMT17 came in it too. Identity and camera stand in the file names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigurationError
from reid_models.datasets.sample import JUNK, ImageArchive, ImageSample, image_names, lies_in

TRAIN, QUERY, GALLERY = FOLDERS = ("bounding_box_train", "query", "bounding_box_test")


@dataclass(frozen=True, slots=True)
class Naming:
    """How one data set names its images. `pattern` has two groups: identity, and camera from 1."""

    title: str
    pattern: re.Pattern[str]
    example: str


def read_parts(
    archive: ImageArchive, naming: Naming, folders: Sequence[str] = FOLDERS
) -> list[tuple[ImageSample, ...]]:
    """The images of each folder, which lies at the top or deeper; junk is left out, distractors stay.

    Raises `ConfigurationError` if a folder is missing or empty, or an image in it is named otherwise.
    """
    names = image_names(archive)
    return [_read_part(archive, names, folder, naming) for folder in folders]


def _read_part(archive: ImageArchive, names: list[str], folder: str, naming: Naming) -> tuple[ImageSample, ...]:
    samples = []
    for name in names:
        if not lies_in(name, folder):
            continue
        match = naming.pattern.match(name.rsplit("/", 1)[-1])
        if match is None:
            raise ConfigurationError(
                f"{name} in {archive.address} is not named as in {naming.title}; expected a name such as "
                f"{naming.example}"
            )
        if int(match[1]) != JUNK:
            samples.append(ImageSample(archive, name, int(match[1]), int(match[2]) - 1))
    if not samples:
        raise ConfigurationError(
            f"{archive.address} has no images in {folder}/; expected {', '.join(FOLDERS)} as in the official "
            f"{naming.title} archive: check the path, or extract the archive again"
        )
    return tuple(samples)
