"""`sightline match`: settings → bus, database and gallery → the matcher's loop."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pipeline.interfaces import Bus, Clock, Gallery, Store
from pipeline.matching.worker import MatcherConfig, MatcherWorker
from services.loop import keep_running


def serve(
    bus: Bus,
    store: Store,
    open_gallery: Callable[[int], Gallery],
    clock: Clock,
    config: MatcherConfig,
    stop: threading.Event,
) -> None:
    """Match until `stop` is set."""
    worker = MatcherWorker(bus, store, open_gallery, clock, config)
    keep_running(worker.run_once, stop, "matcher")
