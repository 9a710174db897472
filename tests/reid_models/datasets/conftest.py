"""Miniature data sets: tiny pictures under the published names."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

PutImages = Callable[[Path, Iterable[str]], Path]


@pytest.fixture(scope="session")
def put_images() -> PutImages:
    """Writes one small grey picture under each name and gives back the folder."""
    picture = np.full((8, 4, 3), 90, np.uint8)
    encoded = {suffix: cv2.imencode(suffix, picture)[1].tobytes() for suffix in (".jpg", ".jpeg", ".png", ".bmp")}

    def put(root: Path, names: Iterable[str]) -> Path:
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded[path.suffix])
        return root

    return put


@pytest.fixture
def zipped(tmp_path: Path) -> Callable[[Path], Path]:
    """The folder as a zip archive with that folder on top, as the official ones have it."""

    def pack(folder: Path) -> Path:
        return Path(shutil.make_archive(str(tmp_path / "packed"), "zip", folder.parent, folder.name))

    return pack
