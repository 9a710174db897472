"""The keeper of backups: makes one when it is due, removes those whose time is over or that may hold erased people."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pipeline import metrics
from pipeline.adapters.backup_folder import BackupAtWork, BackupFolder
from pipeline.adapters.erasure_store import ErasureStore
from pipeline.backups import doomed, is_due
from pipeline.errors import SightlineError
from pipeline.interfaces import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeeperConfig:
    """How often and for how long."""

    every_s: float
    keep_s: float
    longest_s: float | None  # for so long the most lasting of what is copied is kept; None: for ever
    retry_s: float = 600.0  # after something failed


class BackupKeeper:
    """`look` now and then; one process of a site."""

    def __init__(
        self,
        folder: BackupFolder,
        store: ErasureStore,
        make: Callable[[], object],
        clock: Clock,
        config: KeeperConfig,
    ) -> None:
        """`make` makes a backup in the folder."""
        self._folder = folder
        self._store = store
        self._make = make
        self._clock = clock
        self._config = config
        self._look_at_s = float("-inf")

    def look(self) -> None:
        """One look. Raises `Unavailable` while the database does not answer; failures with backups are counted."""
        if self._clock.monotonic() < self._look_at_s:
            return
        receipts = self._store.all_receipts()
        erased = [each.number for each in receipts if each.is_gone]
        steps = (
            lambda: self._folder.note_erasures(receipts),
            lambda: self._make_if_due(erased),
            lambda: self._remove(erased),
            self._tell,
        )
        # Each is tried: where none can be made, what is too old goes all the same.
        if sum(not _tried(step) for step in steps):
            self._look_at_s = self._clock.monotonic() + self._config.retry_s

    def _make_if_due(self, erased: Collection[int]) -> None:
        if is_due(self._folder.backups(), erased, self._clock.now(), self._config.every_s):
            self._make()

    def _remove(self, erased: Collection[int]) -> None:
        self._folder.clear_unfinished()
        now, config = self._clock.now(), self._config
        going = doomed(self._folder.backups(), erased, now, config.keep_s, config.longest_s)
        if going:
            self._folder.remove(going)
            log.info("removed the backups %s", ", ".join(each.folder.name for each in going))

    def _tell(self) -> None:
        backups = self._folder.backups()
        whole = [each.made_at for each in backups if each.manifest is not None]
        metrics.BACKUP_NEWEST.set(max(whole, default=0.0))
        metrics.BACKUP_OLDEST.set(min((each.made_at for each in backups), default=0.0))


def _tried(step: Callable[[], None]) -> bool:
    """Whether it went well, or somebody else is at it."""
    try:
        step()
    except BackupAtWork as error:
        log.info("later: %s", error)
    except SightlineError as error:
        metrics.BACKUP_FAILURES.inc()
        log.warning("backups: %s", error)
        return False
    return True
