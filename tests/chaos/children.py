"""Processes that are made to be killed: the real matcher and embedder over a real Redis and a database file."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.adapters.lease import Lease
from pipeline.adapters.process_mark import process_mark
from pipeline.adapters.redis_bus import BusConfig, RedisBus
from pipeline.adapters.store import SqlStore
from pipeline.embedding.batching import BatchConfig
from pipeline.embedding.worker import EmbedderConfig
from pipeline.matching.assignment import AssignmentConfig
from pipeline.matching.people import MemoryConfig
from pipeline.matching.worker import MatcherConfig
from services import embedder, matcher
from tests.fakes import ColourEncoder, SetEncoders, SetModels

BATCH = 8
MATCHER = MatcherConfig(
    batch_tracklets=BATCH,
    block_s=0.05,
    memory=MemoryConfig(exemplars=4),
)
MODELS = SetModels(config=AssignmentConfig(threshold=0.6, midpoint=0.6))
# Deaths in a row are the point here, so no message is given up for having been handed out often.
PATIENT = BusConfig(max_deliveries=1000)
EMBEDDER = EmbedderConfig(idle_s=0.05, read_tracklets=4, batch=BatchConfig(crops=8, max_wait_s=0.0))


@dataclass(frozen=True, slots=True)
class Site:
    """Where a child works."""

    redis_url: str
    name: str
    database_url: str

    def bus(self, config: BusConfig | None = None) -> RedisBus:
        return RedisBus(self.redis_url, self.name, config)


def match(site: Site, kill_before_call: int | None) -> None:
    """Match until killed; by itself, just before the given outward call (counting bus and database together)."""
    deadly = _Deadly(kill_before_call)
    with Lease(site.database_url, f"process {os.getpid()}", process_mark(os.getpid())) as lease:
        bus = cast(RedisBus, deadly.over(site.bus(matcher.bus_config(MATCHER))))
        store = cast(SqlStore, deadly.over(SqlStore(site.database_url, fence=lease.check)))
        matcher.serve(bus, store, ExactGallery, SystemClock(), MATCHER, threading.Event(), MODELS, lease)


def embed(site: Site, kill_before_call: int | None) -> None:
    """Embed until killed; by itself, just before the given outward call."""
    bus = _Deadly(kill_before_call).over(site.bus(PATIENT))
    embedder.serve(cast(RedisBus, bus), SetEncoders(ColourEncoder()), SystemClock(), EMBEDDER, threading.Event())


class _Deadly:
    """Counts the calls that leave the process."""

    def __init__(self, kill_before_call: int | None) -> None:
        self._left = kill_before_call

    def over(self, inner: object) -> object:
        return _Counted(inner, self._tick)

    def _tick(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)


class _Counted:
    def __init__(self, inner: object, tick: Callable[[], None]) -> None:
        self._inner = inner
        self._tick = tick

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)

        def called(*arguments: object) -> object:
            self._tick()
            return method(*arguments)

        return called
