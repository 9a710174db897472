"""Processes told apart for good: a mark that another process of the same machine can find to have ended."""

from __future__ import annotations

from pathlib import Path

_PROC = Path("/proc")
_START = 19  # of the fields after the program's name, in clock ticks since the machine started; see proc(5)


def process_mark(process_id: int) -> str:
    """Machine start, process namespace, number and start of a running process; empty where that cannot be told.

    Numbers come again after a restart of the machine, in a container and in time; the four together do not.
    """
    machine = _machine()
    try:
        fields = (_PROC / str(process_id) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # A zombie has ended; only its parent has not asked yet.
    return f"{machine}/{process_id}/{fields[_START]}" if machine and fields[0] not in "ZX" else ""


def has_ended(mark: str) -> bool:
    """Whether a process of this very machine and namespace has ended; False for all that cannot be seen from here."""
    machine, _, rest = mark.rpartition("/")[0].rpartition("/")
    return bool(machine) and machine == _machine() and process_mark(int(rest)) != mark


def _machine() -> str:
    try:
        started = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{started}/{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return ""
