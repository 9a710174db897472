"""Where a site's data lie on this machine, how much there is of them, and that as metrics."""

from __future__ import annotations

from pathlib import Path

from pipeline import metrics
from pipeline.adapters.disk import DiskUse, disk_use
from pipeline.interfaces import Clock
from services.runtime import redis_folder
from services.settings import Settings

_MEASURE_EVERY_S = 60.0


def disk_of(settings: Settings) -> DiskUse:
    """What lies in a database or a bucket elsewhere is not counted."""
    data = settings.data_dir.resolve()
    data.mkdir(parents=True, exist_ok=True)
    database, blobs = settings.database, settings.blobs.removeprefix("file://")
    return disk_use(
        data,
        {"database": Path(database.removeprefix("sqlite:///"))} if database.startswith("sqlite:///") else {},
        {"spools": data / "spool", "redis": redis_folder(settings)},
        None if "://" in blobs else Path(blobs),
    )


class DiskMeter:
    """Shows the disk as metrics, now and then."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._measure_at_s = float("-inf")

    def look(self) -> None:
        if self._clock.monotonic() < self._measure_at_s:
            return
        self._measure_at_s = self._clock.monotonic() + _MEASURE_EVERY_S
        use = disk_of(self._settings)
        metrics.DISK_SIZE.set(use.size_bytes)
        metrics.DISK_FREE.set(use.free_bytes)
        for name, size_bytes in use.parts.items():
            metrics.DATA_BYTES.labels(name).set(size_bytes)
