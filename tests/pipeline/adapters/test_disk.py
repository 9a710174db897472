"""What lies on the disk is counted where it is little, and estimated where it is much."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pipeline.adapters.disk import disk_use, sampled_bytes


def fill(folder: Path, count: int) -> int:
    """Blobs as they are kept; returns their bytes."""
    total = 0
    for number in range(count):
        key = hashlib.sha1(str(number).encode()).hexdigest()
        place = folder / key[:2] / key[2:4] / key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x" * (100 + number % 50))
        total += 100 + number % 50
    return total


@pytest.mark.parametrize("count", [0, 1, 300])
def test_few_blobs_are_counted_exactly(tmp_path: Path, count: int) -> None:
    assert sampled_bytes(tmp_path / "blobs") == 0
    assert fill(tmp_path / "blobs", count) == sampled_bytes(tmp_path / "blobs")


def test_many_blobs_are_estimated_by_a_part_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.adapters.disk._SAMPLED_FILES", 400)
    total = fill(tmp_path, 3000)
    assert sampled_bytes(tmp_path) == pytest.approx(total, rel=0.15)
    assert sampled_bytes(tmp_path) != total


def test_a_database_counts_with_its_log_and_a_missing_folder_is_empty(tmp_path: Path) -> None:
    for name, size in (("sightline.db", 100), ("sightline.db-wal", 20), ("other.db", 5)):
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "spool" / "gate").mkdir(parents=True)
    (tmp_path / "spool" / "gate" / "1.spool").write_bytes(b"x" * 7)
    folders = {"spools": tmp_path / "spool", "redis": tmp_path / "redis"}
    found = disk_use(tmp_path, {"database": tmp_path / "sightline.db"}, folders, None)
    assert found.parts == {"database": 120, "spools": 7, "redis": 0}
    assert 0 < found.free_bytes < found.size_bytes
