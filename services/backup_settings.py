"""The part of the settings that says where copies of the site go, how often, and for how long they stay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class BackupSettings(BaseModel):
    """Copies that `sightline retain` makes and removes. Without a folder it makes none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path | None = None  # better on another disk; never inside data_dir
    every_hours: Annotated[float, Field(gt=0)] = 24.0
    keep_days: Annotated[float, Field(gt=0)] = 7.0  # for so long what went lives on in copies


def why_not(folder: Path, data_dir: Path) -> str | None:
    """What speaks against backups in this folder."""
    if not folder.resolve().is_relative_to(data_dir.resolve()):
        return None
    return (
        f"{folder} lies inside the data folder {data_dir}, and would be lost with it; name a folder elsewhere, best on "
        "another disk"
    )
