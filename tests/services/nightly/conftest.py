"""Fixtures of the nights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.adapters.blobs import MemoryBlobs
from pipeline.adapters.store import SqlStore
from reid_models.probe import find_probe
from services.nightly.night import NightConfig, NightTools
from tests.services.nightly.small_nights import (
    Archive,
    filled,
    picture,
    tools_of,
)
from tests.small_site import COLOURS


@pytest.fixture(scope="module")
def archive() -> Archive:
    """One full archive for all, which nights only read."""
    return filled((SqlStore.in_memory(), MemoryBlobs()))


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    """Six labelled people in two cameras, with captions."""
    rng, captions = np.random.default_rng(1), []
    for identity, (name, colour) in enumerate(COLOURS.items(), start=1):
        for camera in (1, 2):
            for box in range(3):
                part = tmp_path / "probe" / ("query" if box == 0 else "bounding_box_test")
                part.mkdir(parents=True, exist_ok=True)
                file = f"{identity:04d}_c{camera}s1_{box:06d}_01.jpg"
                (part / file).write_bytes(picture(rng, colour))
                record = {
                    "image": file,
                    "identity": f"{identity:04d}",
                    "split": "val",
                    "captions": [f"a man in {name}"],
                }
                captions.append(record)
    (tmp_path / "probe" / "captions.json").write_text(json.dumps(captions))
    return tmp_path / "probe"


@pytest.fixture
def full(tmp_path: Path, archive: Archive) -> NightTools:
    return tools_of(tmp_path, archive)


@pytest.fixture
def config(probe: Path) -> NightConfig:
    return NightConfig(days=1.0, training="test", probe=find_probe(probe, None))
