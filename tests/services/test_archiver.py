from __future__ import annotations

import threading
from pathlib import Path

from pipeline.adapters.archive import GROUP, ArchiverConfig
from pipeline.adapters.blobs import MemoryBlobs
from pipeline.adapters.bus_rules import BusConfig
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.redis_server import EmbeddedRedis
from pipeline.adapters.store import SqlStore
from pipeline.contracts import BlobKey, StreamName
from pipeline.errors import Unavailable
from services import archiver
from services.runtime import open_blobs, open_bus, open_store
from services.settings import Settings
from tests.fakes import HandClock, crop, jpeg, painted, tracklet

SEEN = tracklet(1, crop(jpeg(painted((200, 10, 10)))))


class MendedDisk(MemoryBlobs):
    """Refuses the first write, and asks the service to stop after the second."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self._stop = stop
        self._refusals = 1

    def put(self, content: bytes) -> BlobKey:
        if self._refusals:
            self._refusals -= 1
            raise Unavailable("the disk is full")
        self._stop.set()
        return super().put(content)


def test_the_loop_outlives_a_full_disk_and_stops_when_asked() -> None:
    bus = MemoryBus(BusConfig(), monotonic=HandClock().monotonic)
    bus.publish(StreamName.CROPS, [SEEN])
    stop, store = threading.Event(), SqlStore.in_memory()
    archiver.serve(bus, store, MendedDisk(stop), ArchiverConfig(block_s=0.0), stop)
    assert store.tracklets([SEEN.tracklet_id])[SEEN.tracklet_id].crops[0].blob_key == SEEN.crops[0].key
    assert bus.backlog(StreamName.CROPS, GROUP).pending == 0


def test_what_settings_name_is_what_the_archiver_fills(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        settings = Settings.model_validate({"data_dir": tmp_path, "redis_url": server.url})
        store, bus, blobs, stop = open_store(settings), open_bus(settings), open_blobs(settings), threading.Event()
        bus.publish(StreamName.CROPS, [SEEN])
        loop = threading.Thread(
            target=archiver.serve, args=(bus, store, blobs, ArchiverConfig(block_s=0.05), stop), daemon=True
        )
        loop.start()
        try:
            while not store.tracklets([SEEN.tracklet_id]):
                assert not stop.wait(0.02)
        finally:
            stop.set()
            loop.join(10.0)
        assert not loop.is_alive()
        assert open_blobs(settings).get(SEEN.crops[0].key) == SEEN.crops[0].jpeg
        store.close()
