"""When nights begin."""

from __future__ import annotations

from datetime import UTC
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from pipeline.errors import ConfigurationError
from services.nightly.schedule import keep_nights, next_due
from tests.fakes import HandClock
from tests.services.nightly.small_nights import (
    NOW,
)


class EnoughNights(Exception):
    """Ends the loop of the test."""


def test_nights_begin_when_the_clock_says_so_and_missed_ones_are_left_out() -> None:
    clock, began = HandClock(NOW), []  # 14 November 2023, 22:13:20 UTC

    def night() -> None:
        began.append(clock.now())
        clock.sleep(30 * 3600.0 if len(began) == 1 else 60.0)
        if len(began) == 3:
            raise EnoughNights

    with pytest.raises(EnoughNights):
        keep_nights("0 2 * * *", clock, UTC, night)
    assert np.diff(began).tolist() == [2 * 86400.0, 86400.0]
    assert began[0] % 86400.0 == 2 * 3600.0


def test_a_schedule_means_the_clock_on_the_wall() -> None:
    summer, winter = 1_752_000_000.0, 1_768_000_000.0
    zone = ZoneInfo("Europe/Berlin")
    assert [next_due("0 2 * * *", at, zone) % 86400.0 for at in (summer, winter)] == [0.0, 3600.0]


@pytest.mark.parametrize("schedule", ["at night", "0 25 * * *", "0 0 30 2 *", ""])
def test_a_schedule_that_means_no_moment_is_refused_with_an_example(schedule: str) -> None:
    with pytest.raises(ConfigurationError, match=r"0 2 \* \* \*"):
        next_due(schedule, NOW, UTC)
