"""A matcher over a bus and a database in memory, people who walk past it, and ways for it to die."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.adapters.bus_rules import BusConfig
from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.store import SqlStore
from pipeline.contracts import IdentityEvent, StreamName, TrackletEmbedding
from pipeline.interfaces import Bus, Store
from pipeline.kept import KeptCalibration
from pipeline.matching.models import Models
from pipeline.matching.people import MemoryConfig
from pipeline.matching.worker import MatcherConfig, MatcherWorker
from tests.fakes import DIGEST, HandClock, SetModels, embedding, unit_vectors

BATCH = 8
SEED = 47  # of a `site` with several merges, before its first calibration and on the grounds of it
CONFIG = MatcherConfig(
    batch_tracklets=BATCH,
    block_s=0.0,
    memory=MemoryConfig(exemplars=3),
)
WHOLE_BATCHES = BusConfig(redelivery_count=BATCH, max_deliveries=100)


def bus() -> MemoryBus:
    return MemoryBus(WHOLE_BATCHES, monotonic=HandClock().monotonic)


def worker(
    bus: Bus, store: Store, models: Models | None = None, config: MatcherConfig = CONFIG, clock: HandClock | None = None
) -> MatcherWorker:
    chosen = models or SetModels()
    return MatcherWorker(bus, store, ExactGallery, clock or HandClock(), config, chosen)


def site(count: int, seed: int = 3, every_s: float = 2.0) -> list[TrackletEmbedding]:
    """Tracklets of six people walking through two cameras, some at once; several pieces per track. Every third track
    was seen badly."""
    rng = np.random.default_rng(seed)
    looks = unit_vectors(rng, 6, 64)
    found: list[TrackletEmbedding] = []
    while len(found) < count:
        person, camera_id = int(rng.integers(6)), ("gate", "hall")[int(rng.integers(2))]
        started_at = every_s * len(found) + float(rng.integers(5))
        noise = (0.05, 0.05, 0.12)[int(rng.integers(3))]
        for sequence in range(int(rng.integers(1, 4))):
            look = looks[person] + noise * rng.standard_normal(64)
            vector = (look / np.linalg.norm(look)).astype(np.float32)
            span = {"started_at": started_at + 4 * sequence, "ended_at": started_at + 4 * sequence + 3.5}
            found.append(embedding(camera_id, 1000 + len(found) - sequence, sequence, vector=vector, **span))
    return found[:count]


def outcome(store: SqlStore) -> list[IdentityEvent]:
    return [event.model_copy(update={"decided_at": 0.0}) for event in store.events_after(0, 10_000)]


def calibrated(store: SqlStore) -> KeptCalibration | None:
    """What the site has taught, but for when."""
    kept = store.newest_calibration(DIGEST)
    return None if kept is None else replace(kept, learnt_at=0.0)


def published(bus: Bus) -> list[IdentityEvent]:
    found: dict[int, IdentityEvent] = {}
    while deliveries := bus.consume(StreamName.IDENTITIES, "reader", "reader-1", 100, 0.0):
        for delivery in deliveries:
            assert isinstance(delivery.message, IdentityEvent)
            assert found.setdefault(delivery.message.event_id, delivery.message) == delivery.message
        bus.acknowledge(deliveries, "reader")
    return [found[number].model_copy(update={"decided_at": 0.0}) for number in sorted(found)]


class Killed(BaseException):
    """The process ends here."""


class Interrupted:
    """A bus or a store that lets `after` calls through, fails once, and works again."""

    def __init__(
        self, inner: object, failure: BaseException, after: int, *, is_late: bool = False, method: str | None = None
    ) -> None:
        self._inner = inner
        self._failure = failure
        self._left = after
        self._is_late = is_late  # the call has its effect, but its answer is lost
        self._method = method  # the only one that counts; None: all count

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._inner, name)
        if self._method not in (None, name):
            return method

        def called(*arguments: object) -> object:
            self._left -= 1
            if self._left == -1:
                if self._is_late:
                    method(*arguments)
                raise self._failure
            return method(*arguments)

        return called


class Deadly:
    """A bus or a store that kills the matcher at the first call of a kind: before or right after it has an effect."""

    def __init__(self, inner: object, method: str, *, is_late: bool, is_meant: Callable[..., bool] = lambda *_: True):
        self._inner = inner
        self._method = method
        self._is_late = is_late
        self._is_meant = is_meant  # whether a call with such arguments kills

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._inner, name)
        if name != self._method:
            return method

        def called(*arguments: object) -> object:
            if not self._is_meant(*arguments):
                return method(*arguments)
            if self._is_late:
                method(*arguments)
            raise Killed

        return called
