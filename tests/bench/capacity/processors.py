"""Processor seconds and memory of the running system by stage, from the kernel's account of each process (Linux)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_SERVICES = ("camera", "embed", "reembed", "archive", "match", "watch", "retain", "api")


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    words: tuple[str, ...]  # of its command line
    used_s: float


def used_by_stage(root: int) -> dict[str, float]:
    """Seconds since their start of all processes below `root`, by what they do."""
    processes = _processes()
    used: dict[str, float] = {}
    for number, process in processes.items():
        if _is_below(number, root, processes):
            stage = _stage(number, processes)
            used[stage] = used.get(stage, 0.0) + process.used_s
    return used


def memory_by_stage(root: int) -> dict[str, int]:
    """Bytes of all processes below `root`, by what they do; what several share is divided among them (PSS)."""
    processes = _processes()
    held: dict[str, int] = {}
    for number in processes:
        if _is_below(number, root, processes):
            stage = _stage(number, processes)
            held[stage] = held.get(stage, 0) + _memory_bytes(number)
    return held


def _memory_bytes(number: int) -> int:
    try:
        account = Path(f"/proc/{number}/smaps_rollup").read_text()
    except OSError:
        return 0  # it has ended meanwhile
    return 1024 * next(int(line.split()[1]) for line in account.splitlines() if line.startswith("Pss:"))


def _stage(number: int, processes: Mapping[int, _Process]) -> str:
    process = processes[number]
    # The server shows its address in the place of its arguments.
    if process.words[0].partition(" ")[0].endswith(("valkey-server", "redis-server")):
        return "redis"
    service = _service(process)
    if service is not None:
        return "detect and track" if service == "camera" else service
    # Children of a camera worker read and decode the streams.
    above = process.parent
    while above in processes:
        if _service(processes[above]) == "camera":
            return "decode"
        above = processes[above].parent
    return "other"


def _service(process: _Process) -> str | None:
    if "services.cli" not in process.words:
        return None
    return next((word for word in process.words if word in _SERVICES), None)


def _is_below(number: int, root: int, processes: Mapping[int, _Process]) -> bool:
    while number in processes:
        number = processes[number].parent
        if number == root:
            return True
    return False


def _processes() -> dict[int, _Process]:
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()
            words = tuple((folder / "cmdline").read_bytes().decode(errors="replace").split("\0"))
        except OSError:
            continue  # it has ended meanwhile
        found[int(folder.name)] = _Process(int(state[1]), words, (int(state[11]) + int(state[12])) / _TICKS_PER_S)
    return found
