"""Copies of a site that are kept for a while: what each tells of itself, and when one is due or has to go. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

HOUR_S = 3600.0
_NAME = "%Y%m%dT%H%M%SZ"
_NAME_PATTERN = re.compile(r"\d{8}T\d{6}Z")


def _inside(path: str) -> str:
    """A backup may come from anywhere, and names no file beyond its own folder."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\n" in path:
        raise ValueError(f"{path[:80]!r} is no path inside a backup")
    return path


class BackupFile(BaseModel):
    """One file of a backup, as `sha256sum` would tell it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: Annotated[str, AfterValidator(_inside)]  # from the backup's folder on, with slashes
    size_bytes: int
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Counts(BaseModel):
    """How much there is in a backup."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    people: int
    tracklets: int
    crops: int  # files
    missing_crops: int  # which the database names, and the medium did not have
    models: int


class Manifest(BaseModel):
    """What a backup tells of itself. It is written last, so whatever has one is whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: Literal[1] = 1
    site: str
    made_at: float  # UTC seconds; when the copy began
    database: Literal["sqlite", "postgresql"]
    schema_revision: str
    counts: Counts
    erasures_to: int  # the number of the last erasure that was asked for before
    erasures_open: tuple[int, ...]  # of those the ones of which something was left when the copy began
    files: tuple[BackupFile, ...]  # but for the crops, which stand in one of these

    def may_hold(self, erasure: int) -> bool:
        """Whether something of a person who was erased may be in here."""
        return erasure > self.erasures_to or erasure in self.erasures_open


@dataclass(frozen=True, slots=True)
class Backup:
    """One folder of backups. Without a manifest that can be read it may hold anything, and serves nobody."""

    folder: Path
    made_at: float
    manifest: Manifest | None

    def may_hold_any(self, erasures: Collection[int]) -> bool:
        return self.manifest is None or any(map(self.manifest.may_hold, erasures))


@dataclass(frozen=True, slots=True)
class BackupsKept:
    """What people are told about the backups of a site."""

    whole: int
    newest_at: float | None  # UTC seconds
    oldest_at: float | None
    keep_days: float
    every_hours: float

    def is_late(self, now: float) -> bool:
        """Whether the newest should have had a successor, and time to be made."""
        return self.newest_at is not None and now - self.newest_at > 1.5 * self.every_hours * HOUR_S


def folder_name(made_at: float) -> str:
    return datetime.fromtimestamp(made_at, UTC).strftime(_NAME)


def made_at_of(name: str) -> float | None:
    """When a backup of this name was made; None for what is none."""
    if not _NAME_PATTERN.fullmatch(name):
        return None
    try:
        return datetime.strptime(name, _NAME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def is_due(backups: Sequence[Backup], erased: Collection[int], now: float, every_s: float) -> bool:
    """Whether another backup is to be made. `backups` come newest first; `erased` are the erasures of who may be in
    none."""
    # One from the future, by a clock that was wrong, must not keep others from being made.
    newest = next((each for each in backups if each.manifest is not None and each.made_at <= now), None)
    return newest is None or now - newest.made_at >= every_s or newest.may_hold_any(erased)


def doomed(
    backups: Sequence[Backup], erased: Collection[int], now: float, keep_s: float, longest_s: float | None
) -> list[Backup]:
    """Which backups have to go, of all that there are, newest first.

    Those older than `keep_s` do, and as soon as there is one without any of the `erased`, all that may hold one. The
    newest whole one stays for longer where no other succeeds, but not when everything in it is beyond its time
    (`longest_s`; None: it is kept for ever).
    """
    whole = [each for each in backups if each.manifest is not None]
    clean = [each for each in whole if not each.may_hold_any(erased)]
    last = next((each for each in clean or whole if each.made_at <= now), None)
    going = []
    for each in backups:
        age_s = abs(now - each.made_at)
        is_spared = each is last and (longest_s is None or age_s <= longest_s)
        if (age_s > keep_s and not is_spared) or (clean and each.may_hold_any(erased)):
            going.append(each)
    return going
