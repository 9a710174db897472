"""The newest status and picture of each camera: on Redis in production, in memory in tests and single processes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from pipeline.adapters.bus_rules import BusConfig
from pipeline.adapters.packing import pack, unpack
from pipeline.adapters.redis_bus import site_key
from pipeline.adapters.redis_connection import RedisConnection
from pipeline.contracts import CameraId, CameraStatus
from pipeline.errors import InvalidMessage

log = logging.getLogger(__name__)

SNAPSHOT_EXPIRY_S = 60.0  # an older picture would pass for the present
FORGOTTEN_AFTER_S = 3600.0  # a camera that reports no more was taken out of the settings

# Pictures stay out of the append-only file: they are replaced each second, and there they were all but 2 % of what
# four cameras reported: 9 GB a day. A server that starts again waits one report for them.
_SET_UNLOGGED = """
redis.set_repl(redis.REPL_NONE)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
"""


class RedisStatusBoard:
    """`StatusBoard` over a hash of statuses and one expiring key for each picture."""

    def __init__(
        self,
        url: str,
        site: str,
        config: BusConfig | None = None,
        snapshot_expiry_s: float = SNAPSHOT_EXPIRY_S,
        forgotten_after_s: float = FORGOTTEN_AFTER_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Connects at the first call. Raises `ConfigurationError` for an unreadable address or site name."""
        config = config or BusConfig()
        self._statuses_key = site_key(site, "status")
        self._server = RedisConnection(url, self._statuses_key, config.connect_timeout_s, config.answer_timeout_s)
        self._redis = self._server.client
        self._snapshot_key = site_key(site, "snapshot")
        self._snapshot_expiry_s = snapshot_expiry_s
        self._forgotten_after_s = forgotten_after_s
        self._now = now

    def __repr__(self) -> str:
        return f"RedisStatusBoard({self._server.address}, {self._statuses_key})"

    def close(self) -> None:
        self._redis.close()

    def report(self, status: CameraStatus, snapshot_jpeg: bytes | None) -> None:
        with self._server.errors():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.hset(self._statuses_key, status.camera_id, pack(status))
            if snapshot_jpeg is not None:
                key = f"{self._snapshot_key}:{status.camera_id}"
                pipeline.eval(_SET_UNLOGGED, 1, key, snapshot_jpeg, int(self._snapshot_expiry_s * 1000))
            pipeline.execute()

    def statuses(self) -> list[CameraStatus]:
        with self._server.errors():
            packed = self._redis.hgetall(self._statuses_key)
            known = _unpack_all({camera_id.decode(errors="replace"): value for camera_id, value in packed.items()})
            recent, old = _parted(known, self._now() - self._forgotten_after_s)
            if old:
                self._redis.hdel(self._statuses_key, *old)
        return recent

    def snapshot(self, camera_id: CameraId) -> bytes | None:
        with self._server.errors():
            picture: bytes | None = self._redis.get(f"{self._snapshot_key}:{camera_id}")
        return picture


class MemoryStatusBoard:
    """`StatusBoard` in this process."""

    def __init__(
        self,
        snapshot_expiry_s: float = SNAPSHOT_EXPIRY_S,
        forgotten_after_s: float = FORGOTTEN_AFTER_S,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._snapshot_expiry_s = snapshot_expiry_s
        self._forgotten_after_s = forgotten_after_s
        self._monotonic = monotonic
        self._now = now
        self._lock = threading.Lock()
        self._packed: dict[str, bytes] = {}
        self._snapshots: dict[str, tuple[float, bytes]] = {}

    def report(self, status: CameraStatus, snapshot_jpeg: bytes | None) -> None:
        with self._lock:
            self._packed[status.camera_id] = pack(status)
            if snapshot_jpeg is not None:
                self._snapshots[status.camera_id] = (self._monotonic() + self._snapshot_expiry_s, snapshot_jpeg)

    def statuses(self) -> list[CameraStatus]:
        with self._lock:
            recent, old = _parted(_unpack_all(self._packed), self._now() - self._forgotten_after_s)
            for camera_id in old:
                del self._packed[camera_id]
        return recent

    def snapshot(self, camera_id: CameraId) -> bytes | None:
        with self._lock:
            expires_at, picture = self._snapshots.get(camera_id, (float("-inf"), b""))
        return picture if self._monotonic() < expires_at else None


def _unpack_all(packed: Mapping[str, bytes]) -> list[CameraStatus]:
    """By camera name. One that cannot be read (of another version, say) is left out and must not hide the others."""
    statuses = []
    for camera_id in sorted(packed):
        try:
            status = unpack(packed[camera_id])
        except InvalidMessage as error:
            log.warning("the status of camera %s cannot be read: %s", camera_id, error)
            continue
        if isinstance(status, CameraStatus):
            statuses.append(status)
    return statuses


def _parted(statuses: Sequence[CameraStatus], oldest_at: float) -> tuple[list[CameraStatus], list[str]]:
    """The statuses reported since `oldest_at`, and the names of the cameras whose last one is older."""
    recent = [status for status in statuses if status.reported_at >= oldest_at]
    return recent, [status.camera_id for status in statuses if status.reported_at < oldest_at]
