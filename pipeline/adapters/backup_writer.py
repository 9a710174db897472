"""Making a backup: the database of one moment, the crops that it names, and the models that serve or served."""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from alembic.migration import MigrationContext
from sqlalchemy import ColumnElement, Connection, func, select

from pipeline.adapters.backup_folder import CROPS, MANIFEST, BackupFolder, sha256_of
from pipeline.adapters.blobs import FsBlobs, write_durably
from pipeline.adapters.database_copy import FILES, copied
from pipeline.adapters.erasure_store import ErasureStore
from pipeline.adapters.schema import crops, identities, tracklets
from pipeline.backups import Backup, BackupFile, Counts, Manifest, folder_name
from pipeline.contracts import BlobKey


@dataclass(frozen=True, slots=True)
class Originals:
    """What is copied. Keys, passwords and settings are not among it."""

    site: str
    database_url: str
    store: ErasureStore
    blobs: FsBlobs
    models: Callable[[], Mapping[str, Path]]  # files by their path below `models/`


def make_backup(originals: Originals, folder: BackupFolder, now: float) -> Backup:
    """A new backup of a system that may run meanwhile. What is the same as in the newest one is linked to it.

    Raises `Unavailable` while database, crops or disk refuse; nothing then looks like a backup.
    """
    # Before the copy: whatever is asked for from here on may be in it.
    erasures_to = originals.store.last_erasure()
    receipts = originals.store.all_receipts()
    folder.note_erasures(receipts)
    twin = next((each.folder for each in folder.backups() if each.manifest is not None), None)
    with folder.beginning(now) as work:
        models = originals.models()
        files = [_copy_file(source, f"models/{path}", work, twin) for path, source in models.items()]
        with copied(originals.database_url, work) as connection:
            kept, missing = _copy_crops(originals.blobs, _crop_keys(connection), work, twin)
            manifest = Manifest(
                site=originals.site,
                made_at=now,
                database="sqlite" if (work / FILES["sqlite"]).exists() else "postgresql",
                schema_revision=MigrationContext.configure(connection).get_current_revision() or "none",
                counts=Counts(
                    people=_count(connection, identities.c.tracklets > 0),
                    tracklets=_count(connection, tracklets.c.tracklet_id.is_not(None)),
                    crops=kept,
                    missing_crops=missing,
                    models=len({path.partition("/")[0] for path in models if "/" in path}),
                ),
                erasures_to=erasures_to,
                erasures_open=tuple(sorted(each.number for each in receipts if not each.is_gone)),
                files=(),
            )
        files += [_told(work, name) for name in (FILES[manifest.database], CROPS)]
        os.sync()  # everything below, and then the manifest: it vouches for what is on the disk
        whole = manifest.model_copy(update={"files": tuple(files)})
        write_durably(work / MANIFEST, whole.model_dump_json(indent=1).encode() + b"\n")
    return Backup(folder.folder / folder_name(now), now, whole)


def _crop_keys(connection: Connection) -> Iterable[BlobKey]:
    query = select(crops.c.blob_key).distinct().order_by(crops.c.blob_key)
    return map(BlobKey, connection.execute(query, execution_options={"yield_per": 1000}).scalars())


def _count(connection: Connection, which: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).where(which)).scalar_one()


def _copy_crops(blobs: FsBlobs, keys: Iterable[BlobKey], work: Path, twin: Path | None) -> tuple[int, int]:
    """How many there are now, and how many the medium did not have."""
    kept = missing = 0
    with (work / CROPS).open("x", encoding="ascii") as listing:
        for key in keys:
            content = blobs.sealed(key)
            if content is None:
                missing += 1
                continue
            path = f"crops/{key[:3]}/{key}"  # 4096 folders: each takes room in every backup
            _place(content, work / path, None if twin is None else twin / path)
            listing.write(f"{hashlib.sha256(content).hexdigest()}  {path}\n")
            kept += 1
    return kept, missing


def _place(content: bytes, target: Path, twin: Path | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Compared as a whole: what is damaged there, or was sealed by another key, is not linked on.
    if not (twin is not None and twin.is_file() and twin.read_bytes() == content and _is_linked(twin, target)):
        target.write_bytes(content)


def _copy_file(source: Path, path: str, work: Path, twin: Path | None) -> BackupFile:
    target, former = work / path, None if twin is None else twin / path
    target.parent.mkdir(parents=True, exist_ok=True)
    is_same = former is not None and former.is_file() and filecmp.cmp(source, former, shallow=False)
    if not (former is not None and is_same and _is_linked(former, target)):
        shutil.copyfile(source, target)
    return _told(work, path)


def _is_linked(twin: Path, target: Path) -> bool:
    try:
        os.link(twin, target)
    except OSError:  # a file system without links, too many of them, or the former backup goes just now
        return False
    return True


def _told(work: Path, path: str) -> BackupFile:
    return BackupFile(path=path, size_bytes=(work / path).stat().st_size, sha256=sha256_of(work / path))
