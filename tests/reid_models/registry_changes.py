"""What a process does to a registry until it is killed."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.synchronize import Event
from pathlib import Path

from reid_models.registry import Registry


def keep_changing(models: Path, made: Path, digests: Sequence[str], ready: Event) -> None:
    """Add, promote and go back without end."""
    registry = Registry(models)
    ready.set()
    while True:
        for digest in digests:
            registry.add(made / digest)
            registry.promote(digest, 1.0, "again")
        registry.rollback(2.0, "back")
