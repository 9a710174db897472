"""One owner for a folder at a time, across processes; the lock ends with its owner, however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from pipeline.errors import ConfigurationError


def hold_folder(folder: Path, name: str, remedy: str) -> IO[str]:
    """Make and lock `folder`; the lock lives as long as the returned file is open in any process that inherited it.

    The file holds the owner's process number. Raises `ConfigurationError` while another owner lives; `{pid}` in the
    remedy stands for its number.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}.lock"
    lock = path.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        pid = lock.read().strip() or "unknown"
        lock.close()
        raise ConfigurationError(f"process {pid} already holds {folder} ({name}); {remedy.format(pid=pid)}") from error
    if not path.exists() or not os.path.samestat(os.fstat(lock.fileno()), path.stat()):
        lock.close()  # the owner before us has just removed the folder with the file that we have locked
        return hold_folder(folder, name, remedy)
    sign(lock, os.getpid())
    return lock


def sign(lock: IO[str], pid: int) -> None:
    """Write down who owns the folder."""
    lock.seek(0)
    lock.truncate()
    lock.write(str(pid))
    lock.flush()
