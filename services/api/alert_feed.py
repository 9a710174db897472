"""Alerts as they are raised, for pages and programs that stay connected: server-sent events, so many at most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from starlette.concurrency import run_in_threadpool

from pipeline.adapters.standing_book import StandingBook
from pipeline.errors import Unavailable
from pipeline.interfaces import Clock
from services.api.replies import AlertReply

LISTENERS = 32
LONGEST_S = 3600.0
_LOOK_EVERY_S = 1.0
_SIGN_OF_LIFE_S = 15.0  # proxies end connections that say nothing
_AT_ONCE = 100


class AlertFeed:
    """One stream of events for each listener; the number of an alert is the id of its event."""

    def __init__(
        self, book: StandingBook, clock: Clock, listeners: int = LISTENERS, look_every_s: float = _LOOK_EVERY_S
    ) -> None:
        self._book = book
        self._clock = clock
        self._free = listeners
        self._look_every_s = look_every_s
        self._is_closed = False

    def close(self) -> None:
        """End every stream within a second: a server that stops waits for its answers."""
        self._is_closed = True

    def open(self, after: int | None, for_s: float, is_admitted: Callable[[], bool]) -> AsyncGenerator[str, None]:
        """Alerts above a number (None: from now on) for so long, and only while the listener `is_admitted`, which is
        asked whenever there is something to say. Raises `Unavailable` when too many listen."""
        if self._free <= 0:
            raise Unavailable("too many listen to the alerts already; close another page, or ask for the list instead")
        return self._follow(self._book.last_alert() if after is None else after, for_s, is_admitted)

    async def _follow(self, after: int, for_s: float, is_admitted: Callable[[], bool]) -> AsyncGenerator[str, None]:
        self._free -= 1
        began_s = told_s = self._clock.monotonic()
        try:
            yield "retry: 2000\n\n"
            while True:
                found = await run_in_threadpool(self._book.alerts_after, after, _AT_ONCE)
                is_silent = self._clock.monotonic() - told_s >= _SIGN_OF_LIFE_S
                if (found or is_silent) and not await run_in_threadpool(is_admitted):
                    return
                if is_silent and not found:
                    yield ":\n\n"
                    told_s = self._clock.monotonic()
                for alert in found:
                    # JSON holds no line breaks, so nothing in it can end the event.
                    yield f"id: {alert.number}\nevent: alert\ndata: {AlertReply.of(alert).model_dump_json()}\n\n"
                    after, told_s = alert.number, self._clock.monotonic()
                if self._is_closed or self._clock.monotonic() - began_s >= for_s:
                    return
                await asyncio.sleep(self._look_every_s)
        except Unavailable:
            return  # the listener comes back with the last number, and misses nothing
        finally:
            self._free += 1
