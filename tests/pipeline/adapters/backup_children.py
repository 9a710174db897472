"""What processes of their own do to backups."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from pipeline.adapters.backup_folder import BackupFolder
from pipeline.adapters.backup_writer import Originals, make_backup
from pipeline.adapters.blobs import FsBlobs
from pipeline.adapters.store import SqlStore
from pipeline.contracts import BlobKey


def originals_of(data: Path) -> Originals:
    url = f"sqlite:///{data / 'sightline.db'}"
    return Originals("main", url, SqlStore(url), FsBlobs(str(data / "blobs")), dict)


class _DeadlyBlobs(FsBlobs):
    """The third crop is not copied any more."""

    asked = 0

    def sealed(self, key: BlobKey) -> bytes | None:
        self.asked += 1
        if self.asked == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().sealed(key)


def die_in_the_middle(data: Path, folder: Path, now: float) -> None:
    whole = originals_of(data)
    blobs = _DeadlyBlobs(str(data / "blobs"))
    make_backup(Originals(whole.site, whole.database_url, whole.store, blobs, whole.models), BackupFolder(folder), now)


if __name__ == "__main__":
    die_in_the_middle(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
