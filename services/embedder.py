"""`sightline embed`: settings → bus and encoder → the embedder's loop."""

from __future__ import annotations

import threading

from pipeline.embedding.worker import EmbedderConfig, EmbedderWorker
from pipeline.interfaces import Bus, Clock, Encoder
from services.loop import keep_running


def serve(bus: Bus, encoder: Encoder, clock: Clock, config: EmbedderConfig, stop: threading.Event) -> None:
    """Embed until `stop` is set."""
    with EmbedderWorker(bus, encoder, clock, config) as worker:
        keep_running(worker.run_once, stop, "embedder")
