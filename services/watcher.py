"""`sightline watch`: settings → database → the watcher's loop and a thread for each webhook."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.delivery_book import DeliveryBook
from pipeline.adapters.standing_book import StandingBook
from pipeline.adapters.watch_book import WatchBook
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.search.models import SearchModel
from pipeline.search.people import SearchStore
from pipeline.search.watching import Watcher, WatcherConfig
from services.loop import keep_running
from services.query import search_model
from services.runtime import announce_ready, open_blobs, open_store, service
from services.settings import Settings
from services.site_models import SiteModels
from services.webhooks import start_tellers

log = logging.getLogger(__name__)

_IDLE_S = 0.5


def run(settings: Settings) -> None:
    """Watch until a signal. Raises `ConfigurationError` before anything starts for a database or folder of no use."""
    with service("watcher", settings) as stop:
        store, blobs, clock = open_store(settings), open_blobs(settings), SystemClock()
        book = StandingBook(store.database)
        config = WatcherConfig(
            false_alarm_budget=settings.alerts.false_alarm_budget, webhooks=tuple(settings.alerts.webhooks)
        )
        opener = model_opener(SiteModels(settings), store, settings.search.false_answers)
        watcher = Watcher(WatchBook(store.database), opener, clock, config)
        announce_ready()
        start_tellers(settings.site, settings.alerts, DeliveryBook(store.database), book, blobs, clock, stop)
        serve(watcher, stop)


def model_opener(site: SiteModels, store: SearchStore, false_answers: float) -> Callable[[str], SearchModel]:
    """Loads a model by its digest. Raises `Unavailable` where it cannot be: the operator may still bring it."""

    def open_model(digest: str) -> SearchModel:
        log.info("model %s is loaded to hear standing queries", digest)
        try:
            return search_model(store, site.load(digest), false_answers)
        except ConfigurationError as error:
            raise Unavailable(f"standing queries wait for model {digest}: {error}") from error

    return open_model


def serve(watcher: Watcher, stop: threading.Event) -> None:
    """Watch until `stop` is set."""

    def step() -> None:
        if not watcher.run_once():
            stop.wait(_IDLE_S)

    keep_running(step, stop, "watcher")
