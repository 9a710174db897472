"""Market-1501 in its published layout (Zheng et al. 2015), from a folder or a zip archive.

Three folders, `bounding_box_train`, `query` and `bounding_box_test`, hold files such as `0002_c1s1_000451_03.jpg`:
identity, camera (from 1), sequence, frame number at 25 per second, box of that frame. They lie at the top or below a
folder such as `Market-1501-v15.09.15`. Identity -1 is junk and is left out; identity 0 marks distractors, which stay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from reid_models.datasets.bounding_boxes import GALLERY, QUERY, TRAIN, Naming, read_parts
from reid_models.datasets.sample import ImageDataset, ImageSample, open_archive

NAMING = Naming(
    "Market-1501",
    re.compile(r"^(-?\d+)_c([1-9])s\d+_\d+_\d+\.(?:jpg|jpeg|png)$", re.IGNORECASE),
    "0002_c1s1_000451_03.jpg (identity, camera and sequence, frame, box)",
)


@dataclass(frozen=True, slots=True)
class QueryAndGallery:
    """The two parts of a test, each sorted by file name and free of junk."""

    query: tuple[ImageSample, ...]
    gallery: tuple[ImageSample, ...]


def read_market1501(path: Path) -> ImageDataset:
    """All three parts. Raises `ConfigurationError` if one is missing or empty, or a file is named otherwise."""
    train, query, gallery = read_parts(open_archive(path), NAMING)
    return ImageDataset("market1501", train, query, gallery)


def read_train(path: Path) -> tuple[ImageSample, ...]:
    """Raises `ConfigurationError` if the part is missing or empty, or a file is named otherwise."""
    return read_parts(open_archive(path), NAMING, (TRAIN,))[0]


def read_query_and_gallery(path: Path) -> QueryAndGallery:
    """Raises `ConfigurationError` if a part is missing or empty, or a file is named otherwise."""
    query, gallery = read_parts(open_archive(path), NAMING, (QUERY, GALLERY))
    return QueryAndGallery(query, gallery)
