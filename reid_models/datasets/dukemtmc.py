"""DukeMTMC-reID in its published layout (Zheng et al. 2017).

Its authors withdrew the set: this reads a copy that a user already has, and none is offered. The folders of Market-1501
hold files such as `0002_c1_f0044158.jpg`: identity, camera (from 1), frame.
"""

from __future__ import annotations

import re
from pathlib import Path

from reid_models.datasets.bounding_boxes import Naming, read_parts
from reid_models.datasets.sample import ImageDataset, open_archive

NAMING = Naming(
    "DukeMTMC-reID",
    re.compile(r"^(-?\d+)_c([1-8])_f\d+\.(?:jpg|jpeg|png)$", re.IGNORECASE),
    "0002_c1_f0044158.jpg (identity, camera, frame)",
)


def read_dukemtmc(path: Path) -> ImageDataset:
    """All three parts. Raises `ConfigurationError` if one is missing or empty, or a file is named otherwise."""
    train, query, gallery = read_parts(open_archive(path), NAMING)
    return ImageDataset("dukemtmc", train, query, gallery)
