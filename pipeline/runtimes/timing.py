"""How long a piece of work takes, done again and again."""

from __future__ import annotations

import time
from collections.abc import Callable


def pass_seconds(work: Callable[[], object], duration_s: float, least_passes: int) -> list[float]:
    """Seconds of each pass of `work`, for `duration_s` and at least `least_passes`, after one that only warms up."""
    work()
    taken_s: list[float] = []
    ends_s = time.perf_counter() + duration_s
    while len(taken_s) < least_passes or time.perf_counter() < ends_s:
        started_s = time.perf_counter()
        work()
        taken_s.append(time.perf_counter() - started_s)
    return taken_s
