"""Copies of the archive that nights learn from: they go with their night, and with whoever is erased."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.adapters.folder_lock import hold_folder
from pipeline.errors import ConfigurationError

WORK = "work"  # of one night, below the folder of all nights
LOCK = "nightly"


class NightCopies:
    """`TrainingSets` in the folder of the nights."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def clear(self) -> bool:
        """Remove what a killed night left; it is begun anew then. False while a night is at work, which looks itself
        whether somebody was erased, and removes its copy in any case."""
        work = self._folder / WORK
        if not work.exists():
            return True
        try:
            with hold_folder(self._folder, LOCK, "wait for it"):
                shutil.rmtree(work)
        except ConfigurationError:
            return False
        return True
