"""Market-1501 in its published layout (Zheng et al. 2015), from a folder or a zip archive.

Three folders, `bounding_box_train`, `query` and `bounding_box_test`, hold files such as `0002_c1s1_000451_03.jpg`:
identity, camera (from 1), sequence, frame number at 25 per second, box of that frame. They lie at the top or below a
folder such as `Market-1501-v15.09.15`. Identity -1 is junk and is left out; identity 0 marks distractors, which stay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigurationError
from reid_models.datasets.sample import JUNK, ImageArchive, ImageSample, open_archive

FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
FILE_NAME = re.compile(r"^(-?\d+)_c(\d+)s\d+_\d+_\d+\.(?:jpg|jpeg|png)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class QueryAndGallery:
    """The two parts of a test, each sorted by file name and free of junk."""

    query: tuple[ImageSample, ...]
    gallery: tuple[ImageSample, ...]


def read_train(path: Path) -> tuple[ImageSample, ...]:
    """Raises `ConfigurationError` if the part is missing or empty, or a file is named otherwise."""
    archive = open_archive(path)
    return _read_part(archive, archive.names(), "bounding_box_train")


def read_query_and_gallery(path: Path) -> QueryAndGallery:
    """Raises `ConfigurationError` if a part is missing or empty, or a file is named otherwise."""
    archive = open_archive(path)
    names = archive.names()
    return QueryAndGallery(_read_part(archive, names, "query"), _read_part(archive, names, "bounding_box_test"))


def _read_part(archive: ImageArchive, names: list[str], folder: str) -> tuple[ImageSample, ...]:
    samples = []
    for name in names:
        *parents, file_name = name.split("/")
        # The official archive carries Thumbs.db files.
        if not parents or parents[-1] != folder or not file_name.lower().endswith((".jpg", ".jpeg", ".png")):
            continue
        match = FILE_NAME.match(file_name)
        if match is None:
            raise ConfigurationError(
                f"{name} in {archive.address} is not named as in Market-1501; expected a name such as "
                "0002_c1s1_000451_03.jpg (identity, camera and sequence, frame, box)"
            )
        if int(match[1]) != JUNK:
            samples.append(ImageSample(archive, name, int(match[1]), int(match[2]) - 1))
    if not samples:
        raise ConfigurationError(
            f"{archive.address} has no images in {folder}/; expected {', '.join(FOLDERS)} as in the official "
            "Market-1501 archive: check the path, or extract the archive again"
        )
    return tuple(samples)
