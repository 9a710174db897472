"""`sightline retain`: settings → database, blobs, bus and copies → the loop that forgets, and the one for backups."""

from __future__ import annotations

import os
import threading

from pipeline.adapters.backup_folder import BackupFolder
from pipeline.adapters.backup_keeper import BackupKeeper
from pipeline.adapters.forgetter import Forgetter, ForgetterConfig, NoBackups
from pipeline.contracts import BlobKey
from services.backups import open_keeper
from services.disk import DiskMeter
from services.loop import keep_running
from services.nightly.copies import NightCopies
from services.runtime import StoppableClock, announce_ready, open_blobs, open_bus, open_store, service
from services.settings import Settings

_PAGE = 256
_NICE = 15  # whatever else runs on this machine comes first
_BACKUPS_EVERY_S = 10.0


def run(settings: Settings) -> None:
    """Forget until a signal. Raises `ConfigurationError` before anything starts for a database or folder of no use."""
    with service("retain", settings) as stop:
        os.nice(_NICE)
        forgetter, meter = open_forgetter(settings, stop), DiskMeter(settings, StoppableClock(stop))

        def step() -> None:
            meter.look()  # first: it tells of a full disk, which the rest may fail on
            forgetter.run_once()

        if (keeper := open_keeper(settings)) is not None:
            # Beside the loop that forgets: nothing is kept beyond its time because a copy takes long. What is cut off
            # by the end of the process is removed by the next one.
            threading.Thread(target=_keep_backups, args=(keeper, stop), daemon=True).start()
        announce_ready()
        keep_running(step, stop, "retain")


def run_once(settings: Settings) -> None:
    """Remove what is due now, make the backup that is, and return."""
    open_forgetter(settings, threading.Event()).run_once()
    if (keeper := open_keeper(settings)) is not None:
        keeper.look()


def reseal(settings: Settings) -> int:
    """Seal every crop with the newest key, or take the seals off where none is given; how many there are.

    May be killed and begun again; a blob that is sealed already costs one read.
    """
    store, blobs = open_store(settings), open_blobs(settings)
    count, after = 0, BlobKey("")
    try:
        while keys := store.crop_keys(after, _PAGE):
            for key in keys:
                content = blobs.get(key)
                if content is not None:
                    blobs.put(content)
            count, after = count + len(keys), keys[-1]
    finally:
        store.close()
    return count


def open_forgetter(settings: Settings, stop: threading.Event) -> Forgetter:
    return Forgetter(
        open_store(settings),
        open_blobs(settings),
        open_bus(settings),
        settings.keeping,
        NightCopies(settings.nights),
        StoppableClock(stop),
        ForgetterConfig(),
        NoBackups() if settings.backup.folder is None else BackupFolder(settings.backup.folder),
    )


def _keep_backups(keeper: BackupKeeper, stop: threading.Event) -> None:
    def step() -> None:
        keeper.look()
        stop.wait(_BACKUPS_EVERY_S)

    keep_running(step, stop, "backup")
