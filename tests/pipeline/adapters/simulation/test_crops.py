"""Simulated people as a training set."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import pytest

from pipeline.adapters.simulation.crops import write_reid_dataset
from pipeline.errors import ConfigurationError


def test_crops_have_the_layout_of_market1501(tmp_path: Path) -> None:
    shares: list[float] = []
    count = write_reid_dataset(tmp_path, (21, 22), 5, cameras=2, first_identity=301, progress=shares.append)
    folders = {
        name: sorted((tmp_path / name).iterdir()) for name in ("bounding_box_train", "query", "bounding_box_test")
    }
    assert count == sum(map(len, folders.values()))
    captions = json.loads((tmp_path / "captions.json").read_text())
    attributes = json.loads((tmp_path / "attributes.json").read_text())
    assert sorted(attributes) == [f"{identity:04d}" for identity in range(301, 311)]
    assert {entry["image"] for entry in captions} == {path.name for paths in folders.values() for path in paths}
    assert {tuple(entry) for entry in captions} == {("image", "identity", "split", "same_frame_images", "captions")}
    for folder, paths in folders.items():
        for path in paths:
            identity, sequence = re.fullmatch(r"(\d{4})_c[12]s([12])_\d{6}_\d{2}\.jpg", path.name).groups()
            assert (int(identity) - 301) // 5 + 1 == int(sequence)
            assert attributes[identity]["split"] == ("train" if folder == "bounding_box_train" else "val")
            assert cv2.imread(str(path)).shape == (128, 64, 3)
    queries = [path.name[:7] for path in folders["query"]]
    assert len(queries) == len(set(queries)) > 0
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_more_seeds_than_file_names_can_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="one digit"):
        write_reid_dataset(tmp_path, range(10), 5)
