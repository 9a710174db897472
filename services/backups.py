"""Backups of a site: settings → what is copied and where; and the way back into an empty folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.adapters.backup_folder import BackupFolder, crops_of, read_ledger, verify
from pipeline.adapters.backup_keeper import BackupKeeper, KeeperConfig
from pipeline.adapters.backup_writer import Originals, make_backup
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.database import known_revisions
from pipeline.adapters.database_copy import check_takes, put_back
from pipeline.audit import AuditAction
from pipeline.backups import HOUR_S, Backup, BackupsKept, Manifest
from pipeline.contracts import BlobKey, GlobalId
from pipeline.errors import ConfigurationError, InvalidQuery
from pipeline.forgetting import DAY_S, ErasureRequest, cutoffs
from services.audited import record_at_terminal
from services.backup_settings import why_not
from services.runtime import open_blobs, open_registry, open_store
from services.settings import Settings

if TYPE_CHECKING:
    from pipeline.adapters.store import SqlStore

BACKUP_MADE, BACKUP_PUT_BACK = "backup made", "backup put back"
_MODELS = "models/"


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back, and which erasures that came later are asked for again."""

    manifest: Manifest
    asked_again: tuple[int, ...]  # numbers of people
    not_found: tuple[int, ...]  # erasures of people whose numbers this backup does not know


def open_keeper(settings: Settings) -> BackupKeeper | None:
    """Who makes and removes backups; None where the settings name no folder for them."""
    chosen = settings.backup
    if chosen.folder is None:
        return None
    store, folder, clock = open_store(settings), BackupFolder(chosen.folder), SystemClock()
    originals = _originals(settings, store)
    config = KeeperConfig(chosen.every_hours * HOUR_S, chosen.keep_days * DAY_S, _longest_s(settings))
    return BackupKeeper(folder, store, lambda: make_backup(originals, folder, clock.now()), clock, config)


def back_up(settings: Settings, folder: Path | None) -> Backup:
    """A backup now, by whoever is at the terminal; below `folder`, or where the settings say."""
    from services.query import check_database  # here: it brings what a search needs

    chosen = _checked_folder(settings, folder)
    check_database(settings.database)
    record_at_terminal(settings, AuditAction.OPERATION, BACKUP_MADE, {"folder": str(chosen)})
    store = open_store(settings)
    try:
        return make_backup(_originals(settings, store), BackupFolder(chosen), SystemClock().now())
    finally:
        store.close()


def kept(settings: Settings) -> BackupsKept | None:
    """Which backups there are; None where none are made. Raises `Unavailable` while the folder cannot be read."""
    chosen = settings.backup
    if chosen.folder is None:
        return None
    backups = BackupFolder(chosen.folder).backups()
    whole = [each.made_at for each in backups if each.manifest is not None]
    return BackupsKept(
        whole=len(whole),
        newest_at=max(whole, default=None),
        oldest_at=min((each.made_at for each in backups), default=None),
        keep_days=chosen.keep_days,
        every_hours=chosen.every_hours,
    )


def restore(settings: Settings, source: Path) -> Restored:
    """Put a backup back into a site that has nothing yet. Raises `ConfigurationError` where it has, `DamagedBackup`.

    Who was erased after it was made is asked to be erased again, by the ledger beside it and the one of the settings.
    """
    manifest = verify(source)
    _check_has_room(settings, manifest)
    blobs = open_blobs(settings)
    for file in manifest.files:
        if file.path.startswith(_MODELS):
            target = settings.models / file.path.removeprefix(_MODELS)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file.path, target)
    for crop in crops_of(source):
        blobs.put_sealed(BlobKey(Path(crop.path).name), (source / crop.path).read_bytes())
    # Last: whoever is killed before leaves a folder in which nothing can be found, and which is refused.
    put_back(settings.database, source, manifest.database)
    store = open_store(settings)
    try:
        _keep_no_longer(settings, store)
        asked_again, not_found = _erase_again(settings, store, manifest, source)
    finally:
        store.close()
    told = {"folder": str(source), "made_at": manifest.made_at, "erased_again": list(asked_again)}
    record_at_terminal(settings, AuditAction.OPERATION, BACKUP_PUT_BACK, told)
    return Restored(manifest, asked_again, not_found)


def _originals(settings: Settings, store: SqlStore) -> Originals:
    registry = open_registry(settings)
    return Originals(settings.site, settings.database, store, open_blobs(settings), registry.files_in_use)


def _checked_folder(settings: Settings, folder: Path | None) -> Path:
    chosen = folder or settings.backup.folder
    if chosen is None:
        raise ConfigurationError(
            "there is no folder for backups; name one, as `sightline backup /backups`, or set backup.folder"
        )
    if (trouble := why_not(chosen, settings.data_dir)) is not None:
        raise ConfigurationError(trouble)
    return chosen


def _check_has_room(settings: Settings, manifest: Manifest) -> None:
    if manifest.schema_revision not in known_revisions():
        raise ConfigurationError(
            f"the backup has schema {manifest.schema_revision}; this Sightline knows {', '.join(known_revisions())}: "
            "update Sightline, or take an older backup"
        )
    data = settings.data_dir
    if data.exists() and any(data.iterdir()):
        raise ConfigurationError(
            f"the data folder {data} is not empty, and a backup is never written over anything; name a new one with "
            "--data-dir, or move away what lies there (a restore that was cut off is begun anew)"
        )
    if not open_blobs(settings).is_empty():
        raise ConfigurationError(
            f"there are crops at {open_blobs(settings).shown_url} already; expected none: name another place in "
            "blobs_url, or move them away"
        )
    check_takes(settings.database, manifest.database)


def _keep_no_longer(settings: Settings, store: SqlStore) -> None:
    """What became too old since the backup was made is given to nobody, before the job removes it."""
    now = SystemClock().now()
    for camera_id in store.seen_cameras():
        store.advance_marks(camera_id, cutoffs(settings.keeping(camera_id), now))


def _erase_again(
    settings: Settings, store: SqlStore, manifest: Manifest, source: Path
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The people who are asked for again, and the erasures of whom this backup knows no number."""
    folders = {source.resolve().parent, (settings.backup.folder or source.parent).resolve()}
    later = {each for folder in folders for each in read_ledger(folder)}
    store.number_erasures_after(max((each.number for each in later), default=0))
    asked_again, not_found = [], []
    for each in sorted(later, key=lambda erased: erased.number):
        if manifest.may_hold(each.number):
            found = [number for number in each.global_ids if _is_asked(store, number, each.made_by, each.why)]
            asked_again += found
            if not found:
                not_found.append(each.number)
    return tuple(asked_again), tuple(not_found)


def _is_asked(store: SqlStore, person: int, made_by: str, why: str) -> bool:
    request = ErasureRequest(GlobalId(person), made_by, why)
    try:
        expected = store.rehearse_erasure(request.global_id)
    except InvalidQuery:
        return False
    store.add_erasure(request, expected, SystemClock().now())
    return True


def _longest_s(settings: Settings) -> float | None:
    """For how long the most lasting of what is copied is kept; None for ever."""
    keeping = [settings.retention.keeping, *(settings.keeping(camera.id) for camera in settings.cameras)]
    days = [each.events_days for each in keeping]
    longest = [each for each in days if each is not None]
    return max(longest) * DAY_S if len(longest) == len(days) else None
