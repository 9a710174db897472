"""The watcher as a service: it works until it is told to stop, tells its webhooks, and waits for a model."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline.adapters.delivery_book import DeliveryBook, DeliveryState
from pipeline.adapters.watch_book import WatchBook
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.search.models import SearchConfig, SearchModel
from pipeline.search.standing import StandingRequest
from pipeline.search.watching import Watcher, WatcherConfig
from services.settings import AlertSettings
from services.site_models import SiteModels
from services.watcher import model_opener, serve
from services.webhooks import start_tellers
from tests.fakes import DIGEST, HandClock, painted
from tests.small_site import CALIBRATION, COLOURS, NOW, WORDS, Stay, record, small_site


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20.0
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_who_passes_while_the_service_runs_is_told_to_its_webhooks(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    site, stop = small_site(folder=tmp_path), threading.Event()
    site.store.switch_model(DIGEST, 0, NOW, "first")
    site.alerts.book.switch_on(site.alerts.book.add(StandingRequest("red coat", "red", "anna"), NOW))
    model = SearchModel(site.store, site.encoder, SearchConfig(WORDS, CALIBRATION))
    book, deliveries = WatchBook(site.store.database), DeliveryBook(site.store.database)
    watcher = Watcher(book, lambda _: model, HandClock(NOW), WatcherConfig(webhooks=("home",)))
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        hook = {"address": f"http://127.0.0.1:{server.server_address[1]}/", "allow_private": True}
        settings = AlertSettings.model_validate({"webhooks": {"home": hook | {"secret": "0123456789abcdef"}}})
        threads = [
            threading.Thread(target=server.handle_request, daemon=True),
            threading.Thread(target=serve, args=(watcher, stop), daemon=True),
        ]
        for thread in threads:
            thread.start()
        threads += start_tellers("main", settings, deliveries, site.alerts.book, site.blobs, HandClock(NOW), stop)
        record(site.store, site.blobs, [Stay(1, "lobby", 500.0, painted(COLOURS["red"]))], site.encoder)
        wait_for(lambda: deliveries.counts() == {("home", DeliveryState.DELIVERED): 1})
        stop.set()
        for thread in threads:
            thread.join(20.0)
            assert not thread.is_alive()
    assert [message["alert"]["query"]["name"] for message in heard] == ["red"]


def test_a_model_that_is_not_here_is_waited_for() -> None:
    class NoModels:
        def load(self, digest: str) -> object:
            raise ConfigurationError(f"model {digest} is in neither the registry nor the settings")

    opened = model_opener(cast(SiteModels, NoModels()), small_site().store, 0.05)
    with pytest.raises(Unavailable, match=r"standing queries wait for model strange: .*neither the registry"):
        opened("strange")
