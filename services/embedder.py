"""`sightline embed`: settings → bus and encoder → the embedder's loop."""

from __future__ import annotations

import threading

from pipeline.adapters.clock import SystemClock
from pipeline.embedding.batching import BatchConfig
from pipeline.embedding.worker import EmbedderConfig, EmbedderWorker
from pipeline.interfaces import Bus, Clock, Encoder
from services.loop import keep_running
from services.runtime import announce_ready, open_bus, open_encoder, service
from services.settings import Settings


def run(settings: Settings) -> None:
    """Embed until a signal. Raises `ConfigurationError` before anything starts for a model that cannot be used."""
    with service("embedder", settings) as stop:
        chosen = settings.embedding
        config = EmbedderConfig(consumer=chosen.consumer, batch=BatchConfig(chosen.batch_crops, chosen.max_wait_s))
        bus, encoder = open_bus(settings), open_encoder(settings)
        announce_ready()
        serve(bus, encoder, SystemClock(), config, stop)


def serve(bus: Bus, encoder: Encoder, clock: Clock, config: EmbedderConfig, stop: threading.Event) -> None:
    """Embed until `stop` is set."""
    with EmbedderWorker(bus, encoder, clock, config) as worker:
        keep_running(worker.run_once, stop, "embedder")
