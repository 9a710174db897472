"""A piece of the archive in a folder, so that a night can be repeated elsewhere: `tracklets.json` and `crops/*.jpg`.

Crops are named by their content, so a damaged one is noticed. `tracklets.json` holds a version and the rows.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pipeline.contracts import blob_key
from pipeline.errors import ConfigurationError
from reid_models.datasets.json_files import parse_json
from reid_models.datasets.tracklets import ReadCrop, TrackletRecord

ROWS = "tracklets.json"
CROPS = "crops"

_Key = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")
    camera_id: str
    track_id: str
    tracklet_id: str
    started_at: Annotated[float, Field(allow_inf_nan=False)]
    ended_at: Annotated[float, Field(allow_inf_nan=False)]
    crops: Annotated[tuple[_Key, ...], Field(min_length=1)]


class _Export(BaseModel):
    model_config = ConfigDict(extra="forbid")
    version: Literal[1]
    tracklets: list[_Row]


class TrackletExport:
    """An exported folder, opened for reading."""

    def __init__(self, folder: Path) -> None:
        """Raises `ConfigurationError` if rows or crops are missing, or rows are malformed."""
        self._crops = folder / CROPS
        path = folder / ROWS
        if not path.is_file():
            raise ConfigurationError(f"{path} does not exist; expected a folder of exported tracklets")
        rows = parse_json(path.read_bytes(), str(path), TypeAdapter(_Export)).tracklets
        self.records = tuple(TrackletRecord(**row.model_dump()) for row in rows)
        there = {path.name for path in self._crops.glob("*.jpg")}
        missing = sorted({f"{key}.jpg" for record in self.records for key in record.crops} - there)
        if missing:
            raise ConfigurationError(
                f"{path} names {len(missing)} crops that are not in {self._crops}, {missing[0]} for one; copy the "
                "folder again"
            )

    def read_crop(self, key: str) -> bytes:
        """Raises `ConfigurationError` if the file's content is not what its name says."""
        path = self._crops / f"{key}.jpg"
        content = path.read_bytes()
        if blob_key(content) != key:
            raise ConfigurationError(f"{path} is damaged: its content does not belong to its name; copy it again")
        return content


def write_export(folder: Path, records: Sequence[TrackletRecord], read_crop: ReadCrop) -> None:
    """Whole or not at all. Raises `ConfigurationError` if something is already there."""
    if folder.exists():
        raise ConfigurationError(f"{folder} already exists; give a new name, or delete it first")
    unfinished = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.unfinished")
    (unfinished / CROPS).mkdir(parents=True)
    try:
        rows = [
            _Row(**asdict(record) | {"crops": _copied(record, read_crop, unfinished / CROPS)}) for record in records
        ]
        _write(unfinished / ROWS, _Export(version=1, tracklets=rows).model_dump_json(indent=1).encode())
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _copied(record: TrackletRecord, read_crop: ReadCrop, folder: Path) -> tuple[str, ...]:
    """The keys by content, which are the archive's own."""
    keys = []
    for key in record.crops:
        content = read_crop(key)
        keys.append(blob_key(content))
        _write(folder / f"{keys[-1]}.jpg", content)
    return tuple(keys)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
