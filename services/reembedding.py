"""`sightline reembed`: settings → archive, models and bus → the loop that makes up missing vectors."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from pipeline.adapters.crop_archive import StoredCropArchive
from pipeline.embedding.reembedding import Reembedder, ReembedderConfig
from pipeline.errors import ConfigurationError
from pipeline.interfaces import Encoder, ModelBoard
from services.encoders import open_crop_encoder
from services.loop import keep_running
from services.runtime import (
    StoppableClock,
    announce_ready,
    open_blobs,
    open_bus,
    open_model_board,
    open_store,
    service,
)
from services.settings import Settings
from services.site_models import SiteModels, wanted_digest

if TYPE_CHECKING:
    from pipeline.adapters.store import SqlStore

log = logging.getLogger(__name__)

_NICE = 15  # whatever else runs on this machine comes first


def run(settings: Settings) -> None:
    """Make up vectors until a signal. Raises `ConfigurationError` before anything starts for a database of no use."""
    with service("reembedder", settings) as stop:
        os.nice(_NICE)
        store, bus = open_store(settings), open_bus(settings)
        targets = SiteTargets(SiteModels(settings, open_crop_encoder), store, open_model_board(settings))
        archive = StoredCropArchive(store, open_blobs(settings))
        config = ReembedderConfig(repair_after_s=settings.embedding.repair_after_s)
        announce_ready()
        serve(Reembedder(bus, archive, targets, StoppableClock(stop), config), stop)


def serve(reembedder: Reembedder, stop: threading.Event) -> None:
    """Work until `stop` is set."""
    keep_running(reembedder.run_once, stop, "reembedder")


class SiteTargets:
    """`Targets` of a running site. At most one model is held, and none while there is nothing to do."""

    def __init__(self, site: SiteModels, store: SqlStore, board: ModelBoard) -> None:
        self._site = site
        self._store = store
        self._board = board
        self._held: Encoder | None = None

    def serving(self) -> str | None:
        switches = self._store.model_switches(1)
        return switches[0].model_digest if switches else None

    def wanted(self) -> str | None:
        try:
            return wanted_digest(self._site, self._board)
        except ConfigurationError as error:
            log.warning("no other model can be wanted for the moment: %s", error)
            return None

    def open(self, digest: str) -> Encoder:
        if self._held is None or self._held.digest != digest:
            self._held = None  # before the next one is loaded: two may not fit
            self._held = self._site.load(digest)
            log.info("model %s is loaded to embed what lacks its vectors", digest)
        return self._held

    def let_go(self) -> None:
        if self._held is not None:
            log.info("nothing lacks vectors; model %s is let go", self._held.digest)
            self._held = None
