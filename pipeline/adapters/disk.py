"""How full the disk is that a site's data lie on, by figures that cost little: no walk over all crops."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_SAMPLED_FILES = 2000
_LEAVES = 65_536  # folders of two times two hexadecimal digits, which hold blobs evenly


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Of the disk below the data folder. `parts` are the bytes of what lies in folders of this machine, by name."""

    size_bytes: int
    free_bytes: int
    parts: Mapping[str, int]


def disk_use(data: Path, files: Mapping[str, Path], folders: Mapping[str, Path], blobs: Path | None) -> DiskUse:
    """`files` are databases, counted with what lies beside them under the same name; `folders` hold few files."""
    disk = shutil.disk_usage(data)
    parts = {name: sum(_size(each) for each in path.parent.glob(f"{path.name}*")) for name, path in files.items()}
    parts |= {name: sum(_size(each) for each in path.rglob("*")) for name, path in folders.items()}
    if blobs is not None:
        parts["crops"] = sampled_bytes(blobs)
    return DiskUse(disk.total, disk.free, parts)


def sampled_bytes(blobs: Path) -> int:
    """The bytes of all blobs, by the first ones in the order of their keys: exact for few, an estimate for many.

    Keys are hashes, so a part of the folders holds that part of the bytes.
    """
    found = files = 0
    for first in _hexadecimal(blobs):
        for second in _hexadecimal(blobs / first):
            with contextlib.suppress(FileNotFoundError), os.scandir(blobs / first / second) as entries:
                sizes = [_size(Path(entry.path)) for entry in entries]
                found, files = found + sum(sizes), files + len(sizes)
            if files >= _SAMPLED_FILES:
                return round(found * _LEAVES / (int(first + second, 16) + 1))
    return found


def _hexadecimal(folder: Path) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        names = sorted(path.name for path in folder.iterdir())
        yield from (name for name in names if len(name) == 2 and set(name) <= set("0123456789abcdef"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if not path.is_dir() else 0
    except FileNotFoundError:  # files come and go
        return 0
