"""`sightline archive`: settings → bus, database and blobs → the archiver's loop."""

from __future__ import annotations

import threading

from pipeline.adapters.archive import Archiver, ArchiverConfig
from pipeline.interfaces import Blobs, Bus, Store
from services.loop import keep_running
from services.runtime import announce_ready, open_blobs, open_bus, open_store, service
from services.settings import Settings


def run(settings: Settings) -> None:
    """Archive until a signal. Raises `ConfigurationError` before anything starts for a database or folder of no use."""
    with service("archiver", settings) as stop:
        store = open_store(settings)
        bus, blobs = open_bus(settings), open_blobs(settings)
        announce_ready()
        serve(bus, store, blobs, ArchiverConfig(), stop)


def serve(bus: Bus, store: Store, blobs: Blobs, config: ArchiverConfig, stop: threading.Event) -> None:
    """Archive until `stop` is set."""
    archiver = Archiver(bus, store, blobs, config)
    keep_running(archiver.run_once, stop, "archiver")
