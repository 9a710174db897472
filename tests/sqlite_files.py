"""Databases in files: the migrations run once in a process, and each test gets a copy of what they made."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from pipeline.adapters.store import upgrade

NAME = "sightline.db"


def new_database(folder: Path) -> str:
    """The address of a database of the newest schema without data, in `folder`."""
    (folder / NAME).write_bytes(_empty())
    return f"sqlite:///{folder / NAME}"


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        upgrade(f"sqlite:///{folder}/{NAME}")
        return (Path(folder) / NAME).read_bytes()
