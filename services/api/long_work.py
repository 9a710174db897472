"""Work that takes longer than anybody waits for a page: one at a time in a thread, and what came of the last one.

It belongs to this process: of two API processes only the one that does the work can tell of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.errors import InvalidQuery, SightlineError
from pipeline.interfaces import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of work; `outcome` tells what came of it once it has ended."""

    name: str
    by: str
    began_at: float
    ended_at: float | None = None
    outcome: str = ""
    has_failed: bool = False


class LongWork:
    """Safe to use from many threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: Work | None = None
        self._thread: threading.Thread | None = None

    def last(self) -> Work | None:
        """What is being done, or was done last."""
        with self._lock:
            return self._last

    def begin(self, name: str, by: str, do: Callable[[], str]) -> None:
        """Begin `do`, which returns what came of it. Raises `InvalidQuery` while something else is being done."""
        with self._lock:
            if self._last is not None and self._last.ended_at is None:
                raise InvalidQuery(
                    f"{self._last.name} is still at work for {self._last.by}",
                    "one thing at a time",
                    "wait until it ends",
                )
            work = self._last = Work(name, by, self._clock.now())
            self._thread = threading.Thread(target=self._do, args=(work, do), name="long work", daemon=True)
            self._thread.start()

    def wait(self, longest_s: float | None = None) -> None:
        """Until what is being done has ended."""
        if self._thread is not None:
            self._thread.join(longest_s)

    def _do(self, work: Work, do: Callable[[], str]) -> None:
        try:
            outcome, has_failed = do(), False
        except SightlineError as error:
            outcome, has_failed = str(error), True
        except Exception:
            # Whatever it was, the page must not say for ever that it is still at work.
            log.exception("%s failed", work.name)
            outcome, has_failed = "It failed in an unforeseen way; the log of the API tells why.", True
        with self._lock:
            self._last = replace(work, ended_at=self._clock.now(), outcome=outcome, has_failed=has_failed)
