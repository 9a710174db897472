"""When the next night is due, and waiting for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, tzinfo

from cronsim import CronSim, CronSimError

from pipeline.errors import ConfigurationError
from pipeline.interfaces import Clock

log = logging.getLogger(__name__)

_NAP_S = 30.0  # short, so that a clock that is set in the meantime is noticed


def next_due(schedule: str, now: float, zone: tzinfo) -> float:
    """UTC seconds of the first moment after `now` that the cron expression means in `zone`, summer time included.

    Raises `ConfigurationError` for an expression that is none or that never comes.
    """
    try:
        return next(CronSim(schedule, datetime.fromtimestamp(now, zone))).timestamp()
    except (CronSimError, StopIteration) as error:
        raise ConfigurationError(
            f"schedule {schedule!r} is no moment of a cron clock; expected five fields such as '0 2 * * *' (at "
            "two every night): minute, hour, day of the month, month, day of the week"
        ) from error


def keep_nights(schedule: str, clock: Clock, zone: tzinfo, night: Callable[[], object]) -> None:
    """Call `night` at each due moment, for ever. A moment that passes during a night is left out."""
    while True:
        due_at = next_due(schedule, clock.now(), zone)
        log.info("the next night begins at %s", datetime.fromtimestamp(due_at, zone).isoformat(timespec="minutes"))
        while (left_s := due_at - clock.now()) > 0.0:
            clock.sleep(min(left_s, _NAP_S))
        night()
