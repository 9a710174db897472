"""The time zone in which people at this site read a clock."""

from __future__ import annotations

import os
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

_SYSTEM_ZONE = Path("/etc/localtime")


def local_zone(environment: str | None = None, system_zone: Path = _SYSTEM_ZONE) -> tzinfo:
    """`$TZ` where it names a zone, else the system's; with its rules for summer time, so that other days are right too.

    A system without zone files gives its present offset.
    """
    name = environment if environment is not None else os.environ.get("TZ", "")
    try:
        if name:
            return ZoneInfo(name.removeprefix(":"))
        with system_zone.open("rb") as file:
            return ZoneInfo.from_file(file, key="local")
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return datetime.now(UTC).astimezone().tzinfo or UTC
