"""The site's time zone."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import TZPATH

import pytest

from services.local_zone import local_zone


def test_the_environment_names_the_zone() -> None:
    zone = local_zone("Europe/Berlin")
    winter, summer = datetime(2026, 1, 1, tzinfo=zone), datetime(2026, 7, 1, tzinfo=zone)
    assert (winter.utcoffset(), summer.utcoffset()) != (None, None)
    assert winter.utcoffset() != summer.utcoffset()


def test_the_system_file_is_read() -> None:
    file = next((p for folder in TZPATH if (p := Path(folder) / "Asia" / "Tokyo").exists()), None)
    if file is None:
        pytest.skip("no zone files on this system; apt-get install tzdata")
    offset = datetime(2026, 1, 1, tzinfo=local_zone("", file)).utcoffset()
    assert offset is not None and offset.total_seconds() == 9 * 3600


@pytest.mark.parametrize("name", ["No/Such_Zone", "../../etc/passwd", ""])
def test_without_a_known_zone_the_present_offset_is_taken(name: str, tmp_path: Path) -> None:
    assert datetime(2026, 1, 1, tzinfo=local_zone(name, tmp_path / "missing")).utcoffset() is not None
