"""`sightline embed`: settings → bus and models → the embedder's loop."""

from __future__ import annotations

import contextlib
import threading

from pipeline.adapters.clock import SystemClock
from pipeline.embedding.batching import BatchConfig
from pipeline.embedding.worker import EmbedderConfig, EmbedderWorker, Encoders
from pipeline.interfaces import Bus, Clock
from services.embedding_models import EmbeddingModels, EmbeddingModelsConfig
from services.encoders import open_crop_encoder
from services.loop import keep_running
from services.runtime import announce_ready, open_bus, open_model_board, service
from services.settings import Settings
from services.site_models import SiteModels


def run(settings: Settings) -> None:
    """Embed until a signal. Raises `ConfigurationError` before anything starts for a model that cannot be used."""
    with service("embedder", settings) as stop:
        chosen = settings.embedding
        config = EmbedderConfig(consumer=chosen.consumer, batch=BatchConfig(chosen.batch_crops, chosen.max_wait_s))
        clock, site, board = SystemClock(), SiteModels(settings, open_crop_encoder), open_model_board(settings)
        site.wanted()  # raises while the operator is still looking
        kept = EmbeddingModelsConfig(chosen.consumer, 3600.0 * chosen.keep_previous_h)
        bus = open_bus(settings)
        with contextlib.closing(EmbeddingModels(site, board, clock, kept)) as models:
            announce_ready()
            serve(bus, models, clock, config, stop)


def serve(bus: Bus, models: Encoders, clock: Clock, config: EmbedderConfig, stop: threading.Event) -> None:
    """Embed until `stop` is set."""
    with EmbedderWorker(bus, models, clock, config) as worker:
        keep_running(worker.run_once, stop, "embedder")
