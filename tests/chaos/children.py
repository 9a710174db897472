"""Processes that are made to be killed: the real matcher, embedder and watcher over real Redis and database files."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from sqlalchemy import Connection

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.adapters.lease import Lease
from pipeline.adapters.process_mark import process_mark
from pipeline.adapters.redis_bus import BusConfig, RedisBus
from pipeline.adapters.store import SqlStore
from pipeline.adapters.watch_book import WatchBook
from pipeline.contracts import IdentityEvent
from pipeline.decisions import Applied, Decision, Revision
from pipeline.embedding.batching import BatchConfig
from pipeline.embedding.worker import EmbedderConfig
from pipeline.matching.people import MemoryConfig
from pipeline.matching.worker import MatcherConfig
from pipeline.search import watching
from pipeline.search.models import SearchConfig, SearchModel
from services import embedder, matcher, watcher
from tests.fakes import ColourEncoder, SetEncoders, SetModels
from tests.small_site import CALIBRATION, WORDS, WardrobeEncoder

BATCH = 8
MATCHER = MatcherConfig(
    batch_tracklets=BATCH,
    block_s=0.05,
    memory=MemoryConfig(exemplars=4),
)
MODELS = SetModels()
# Deaths in a row are the point here, so no message is given up for having been handed out often.
PATIENT = BusConfig(max_deliveries=1000)
WATCHER = watching.WatcherConfig(batch_tracklets=BATCH, keep_place_every_s=0.0, webhooks=("pager",))
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


def match_and_stand_still(site: Site, where: Literal["before", "within"] | None, said: Path) -> None:
    """Match until killed, and stand still once by SIGSTOP: before the first decisions are committed, or within that
    transaction. What the matcher says is written to the file `said`."""
    logging.basicConfig(filename=said, level="INFO")
    with Lease(site.database_url, f"process {os.getpid()}", process_mark(os.getpid()), duration_s=1.0) as lease:
        store = _StandsStill(
            SqlStore(site.database_url, fence=lambda connection: store.fence(connection)), lease, where
        )
        bus = site.bus(matcher.bus_config(MATCHER))
        serving = cast(SqlStore, store)
        matcher.serve(bus, serving, ExactGallery, SystemClock(), MATCHER, threading.Event(), MODELS, lease)


def embed(site: Site, kill_before_call: int | None) -> None:
    """Embed until killed; by itself, just before the given outward call."""
    bus = _Deadly(kill_before_call).over(site.bus(PATIENT))
    embedder.serve(cast(RedisBus, bus), SetEncoders(ColourEncoder()), SystemClock(), EMBEDDER, threading.Event())


def watch(site: Site, kill_before_call: int | None) -> None:
    """Watch until killed; by itself, just before the given call to the database."""
    store = SqlStore(site.database_url)
    book = cast(WatchBook, _Deadly(kill_before_call).over(WatchBook(store.database)))
    model = SearchModel(store, WardrobeEncoder(), SearchConfig(WORDS, CALIBRATION))
    watcher.serve(watching.Watcher(book, lambda _: model, SystemClock(), WATCHER), threading.Event())


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


class _StandsStill:
    """A store that stops this process once at its first decisions."""

    def __init__(self, inner: SqlStore, lease: Lease, where: Literal["before", "within"] | None) -> None:
        self._inner = inner
        self._lease = lease
        self._where = where
        self._is_committing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def fence(self, connection: Connection) -> None:
        self._lease.check(connection)
        if self._is_committing:
            self._stand_still("within")

    def commit_decisions(
        self,
        decisions: Sequence[Decision],
        decided_at: float,
        revisions: Sequence[Revision] = (),
        applied: Applied | None = None,
    ) -> list[IdentityEvent]:
        self._stand_still("before")
        self._is_committing = True
        return self._inner.commit_decisions(decisions, decided_at, revisions, applied)

    def _stand_still(self, where: str) -> None:
        if self._where == where:
            self._where = None
            os.kill(os.getpid(), signal.SIGSTOP)


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
