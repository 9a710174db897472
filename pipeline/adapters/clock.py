"""The clock of the machine."""

from __future__ import annotations

import time


class SystemClock:
    """`Clock` in services; tests turn one by hand."""

    def now(self) -> float:
        """UTC seconds. Follows the machine's clock, so it may jump when that is set."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump; the same line of time in all processes of this machine."""
        return time.monotonic()

    def sleep(self, duration_s: float) -> None:
        time.sleep(max(0.0, duration_s))
