"""What matcher and embedders tell one another about models: on Redis in production, in memory in tests."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from pipeline.adapters.bus_rules import BusConfig
from pipeline.adapters.packing import pack, unpack
from pipeline.adapters.redis_bus import site_key
from pipeline.adapters.redis_connection import RedisConnection
from pipeline.contracts import LoadedModels, ServingModel
from pipeline.errors import InvalidMessage

log = logging.getLogger(__name__)

FORGOTTEN_AFTER_S = 30.0  # an embedder that reports no more is waited for no more


class RedisModelBoard:
    """`ModelBoard` over one key and a hash of reports.

    The key never expires: only the matcher lets another model serve, and while it is away nothing changes.
    """

    def __init__(self, url: str, site: str, config: BusConfig | None = None, now: Callable[[], float] = time.time):
        """Connects at the first call. Raises `ConfigurationError` for an unreadable address or site name."""
        config = config or BusConfig()
        self._serving_key = site_key(site, "serving-model")
        self._server = RedisConnection(url, self._serving_key, config.connect_timeout_s, config.answer_timeout_s)
        self._redis = self._server.client
        self._reports_key = site_key(site, "loaded-models")
        self._now = now

    def __repr__(self) -> str:
        return f"RedisModelBoard({self._server.address}, {self._serving_key})"

    def close(self) -> None:
        self._redis.close()

    def announce(self, serving: ServingModel) -> None:
        with self._server.errors():
            self._redis.set(self._serving_key, pack(serving))

    def serving(self) -> ServingModel | None:
        with self._server.errors():
            packed: bytes | None = self._redis.get(self._serving_key)
        return None if packed is None else _serving(packed)

    def report(self, loaded: LoadedModels) -> None:
        with self._server.errors():
            self._redis.hset(self._reports_key, loaded.embedder, pack(loaded))

    def reports(self) -> list[LoadedModels]:
        with self._server.errors():
            packed = {
                name.decode(errors="replace"): each for name, each in self._redis.hgetall(self._reports_key).items()
            }
            recent, old = _parted(packed, self._now() - FORGOTTEN_AFTER_S)
            if old:
                self._redis.hdel(self._reports_key, *old)
        return recent


class MemoryModelBoard:
    """`ModelBoard` in this process."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._serving: bytes | None = None
        self._reports: dict[str, bytes] = {}

    def announce(self, serving: ServingModel) -> None:
        self._serving = pack(serving)

    def serving(self) -> ServingModel | None:
        return None if self._serving is None else _serving(self._serving)

    def report(self, loaded: LoadedModels) -> None:
        self._reports[loaded.embedder] = pack(loaded)

    def reports(self) -> list[LoadedModels]:
        recent, old = _parted(dict(self._reports), self._now() - FORGOTTEN_AFTER_S)
        for name in old:
            del self._reports[name]
        return recent


def _serving(packed: bytes) -> ServingModel | None:
    """What cannot be read (of another version, say) counts as unknown; the matcher writes it anew in a moment."""
    try:
        message = unpack(packed)
    except InvalidMessage as error:
        log.warning("the notice of the serving model cannot be read: %s", error)
        return None
    return message if isinstance(message, ServingModel) else None


def _parted(packed: Mapping[str, bytes], oldest_at: float) -> tuple[list[LoadedModels], list[str]]:
    """The reports made since `oldest_at` by name, and the names of all others, unreadable ones included."""
    recent: list[LoadedModels] = []
    for name in sorted(packed):
        try:
            report = unpack(packed[name])
        except InvalidMessage as error:
            log.warning("the report of embedder %s cannot be read: %s", name, error)
            continue
        if isinstance(report, LoadedModels) and report.reported_at >= oldest_at:
            recent.append(report)
    return recent, sorted(packed.keys() - {report.embedder for report in recent})
