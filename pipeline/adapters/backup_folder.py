"""The folder of backups: which ones there are, what becomes one, what goes, and the ledger of erasures beside them.

backups/
  20261122T101500Z/   whole: its manifest was there before it got this name
  .unfinished-…/      at work, or left by somebody who was killed; also what is being removed
  erasures.json       who was erased, by number, to be erased again from what is put back
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from pipeline.adapters.blobs import sync_folder, write_durably
from pipeline.adapters.folder_lock import hold_folder
from pipeline.backups import Backup, BackupFile, Manifest, folder_name, made_at_of
from pipeline.errors import ConfigurationError, SightlineError, Unavailable
from pipeline.forgetting import Receipt

MANIFEST = "manifest.json"
CROPS = "crops.sha256"  # one line a crop, for `sha256sum -c` too
LEDGER = "erasures.json"
_UNFINISHED = ".unfinished-"


class BackupAtWork(Unavailable):
    """Another process makes or removes backups just now."""


class DamagedBackup(SightlineError):
    """A backup is not what its manifest says, or is none."""


class Erased(BaseModel):
    """What the ledger keeps of an erasure: what its receipt says of whom and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    number: int
    global_ids: tuple[int, ...]
    made_by: str
    why: str

    @classmethod
    def of(cls, receipt: Receipt) -> Erased:
        numbers = {receipt.global_id, *receipt.global_ids}
        return cls(number=receipt.number, global_ids=tuple(sorted(numbers)), made_by=receipt.made_by, why=receipt.why)


_LEDGER = TypeAdapter(tuple[Erased, ...])


class BackupFolder:
    """Safe for several processes. Raises `Unavailable` while the disk refuses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def backups(self) -> list[Backup]:
        """All that have a name, newest first."""
        with _translated(self.folder):
            entries = list(self.folder.iterdir()) if self.folder.exists() else []
        dated = [(made_at, entry) for entry in entries if (made_at := made_at_of(entry.name)) is not None]
        return [Backup(entry, made_at, _manifest_or_none(entry)) for made_at, entry in sorted(dated, reverse=True)]

    def left_of(self, erasure: int) -> int:
        """How many backups, unfinished ones too, may hold something of an erased person."""
        held = sum(each.may_hold_any([erasure]) for each in self.backups())
        return held + len(self._unfinished())

    @contextmanager
    def beginning(self, made_at: float) -> Iterator[Path]:
        """A new folder to write to, which becomes a backup when the block has ended with a manifest in it. One at a
        time; what was killed before is removed."""
        with self._held():
            self._clear()
            name = folder_name(made_at)
            work = self.folder / f"{_UNFINISHED}{name}"
            with _translated(self.folder):
                if (self.folder / name).exists():
                    raise Unavailable(f"there is a backup {name} already; try again in a second")
                work.mkdir(mode=0o700)
                try:
                    yield work
                    sync_folder(work)
                    work.rename(self.folder / name)
                    sync_folder(self.folder)
                except BaseException:
                    shutil.rmtree(work, ignore_errors=True)  # the disk may be full of it
                    raise

    def remove(self, backups: Sequence[Backup]) -> None:
        """A name goes first, so that nobody takes for whole what is half removed."""
        with self._held():
            self._clear()
            with _translated(self.folder):
                for each in backups:
                    each.folder.rename(self.folder / f"{_UNFINISHED}{each.folder.name}")
            self._clear()

    def clear_unfinished(self) -> None:
        """Remove what others left who were killed."""
        if self._unfinished():
            with self._held():
                self._clear()

    def ledger(self) -> tuple[Erased, ...]:
        """Raises `ConfigurationError` for one that cannot be read."""
        return read_ledger(self.folder)

    def note_erasures(self, receipts: Sequence[Receipt]) -> None:
        """Add to the ledger what it does not know; nothing is ever taken out of it."""
        known = {each.number: each for each in self.ledger()}
        wanted = known | {receipt.number: Erased.of(receipt) for receipt in receipts}
        if wanted != known:
            with _translated(self.folder):
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                entries = tuple(wanted[number] for number in sorted(wanted))
                write_durably(self.folder / LEDGER, _LEDGER.dump_json(entries, indent=1) + b"\n")

    def _unfinished(self) -> list[Path]:
        with _translated(self.folder):
            return list(self.folder.glob(f"{_UNFINISHED}*"))

    def _clear(self) -> None:
        with _translated(self.folder):
            for each in self._unfinished():
                shutil.rmtree(each)

    @contextmanager
    def _held(self) -> Iterator[None]:
        with _translated(self.folder):
            try:
                lock = hold_folder(self.folder, "backup", "wait for it")
            except ConfigurationError as error:
                raise BackupAtWork(str(error)) from error
        with lock:
            yield


def read_ledger(folder: Path) -> tuple[Erased, ...]:
    """The erasures that stand beside backups; none where there is no ledger."""
    try:
        return _LEDGER.validate_json((folder / LEDGER).read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            f"the ledger of erasures {folder / LEDGER} cannot be read; put a copy of it back, for without it people "
            "who were erased come back with a backup"
        ) from error


def read_manifest(folder: Path) -> Manifest:
    """Raises `DamagedBackup` for a folder that is no backup."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise DamagedBackup(
            f"{folder} is no whole backup: {MANIFEST} cannot be read ({error.strerror}); expected a folder that "
            "`sightline backup` made"
        ) from error
    except ValidationError as error:
        raise DamagedBackup(
            f"{folder / MANIFEST} is damaged, or by a newer Sightline ({error.error_count()} problems in it); take "
            "another backup"
        ) from error


def crops_of(folder: Path) -> Iterator[BackupFile]:
    """Every crop of a backup as it is listed. Raises `DamagedBackup` for a listing that cannot be read."""
    with (folder / CROPS).open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            sha256, _, path = line.rstrip("\n").partition("  ")
            try:
                yield BackupFile(path=path, size_bytes=0, sha256=sha256)
            except ValidationError as error:
                raise DamagedBackup(f"{folder / CROPS} is damaged at {line[:80]!r}; take another backup") from error


def verify(folder: Path) -> Manifest:
    """Read everything, and return the manifest that it is true to. Raises `DamagedBackup` naming the first bad file."""
    manifest = read_manifest(folder)
    for file in manifest.files:
        _check(folder, file)
    for crop in crops_of(folder):
        _check(folder, crop)
    return manifest


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(folder: Path, file: BackupFile) -> None:
    try:
        found = sha256_of(folder / file.path)
    except OSError as error:
        raise DamagedBackup(
            f"{file.path} of the backup {folder} cannot be read ({error.strerror}); take another backup"
        ) from error
    if found != file.sha256:
        raise DamagedBackup(
            f"{file.path} of the backup {folder} was changed after it was made (SHA-256 {found[:16]}…; expected "
            f"{file.sha256[:16]}…); take another backup"
        )


def _manifest_or_none(folder: Path) -> Manifest | None:
    try:
        return read_manifest(folder)
    except DamagedBackup:
        return None


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"the backups in {folder} cannot be written or read ({error.strerror or error}); is the disk there, with "
            "room, and may this user write to it?"
        ) from error
