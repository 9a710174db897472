"""Processes that tests start: how, which of them live, and what they said."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

DEMO = [sys.executable, "-m", "services.cli", "demo"]

# For children that are started only to be killed: all come from one process that has everything imported.
forkserver = multiprocessing.get_context("forkserver")
forkserver.set_forkserver_preload(
    [
        "psycopg",
        "pytest",  # which each child of `python -m pytest` imports as its parent's program
        "sqlalchemy.dialects.postgresql.psycopg",
        "tests.chaos.children",
        "tests.pipeline.adapters.database_writers",
        "tests.reid_models.registry_changes",
        "tests.reid_models.tiny_method",
        "tests.services.nightly.small_nights",
        "torch._dynamo",  # else the first step of every training loads it, for two seconds
    ]
)


def processes_below(folder: Path) -> list[str]:
    """Command lines of living processes that name `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in command:
                found.append(command)
    return found


def logs(data_dir: Path) -> str:
    """Of all services of a system."""
    return "\n".join(f"== {path.name}\n{path.read_text()}" for path in sorted((data_dir / "run").glob("*.log")))
