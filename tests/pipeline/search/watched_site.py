"""A small site that is watched for standing queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.adapters.standing_book import AlertFilter
from pipeline.adapters.watch_book import WatchBook
from pipeline.contracts import CameraId
from pipeline.search.models import SearchConfig, SearchModel
from pipeline.search.standing import StandingRequest
from pipeline.search.watching import WatchedSite, Watcher, WatcherConfig
from tests.fakes import DIGEST, HandClock, painted
from tests.small_site import CALIBRATION, COLOURS, NOW, WORDS, SmallSite, Stay, WardrobeEncoder, record, small_site

RUST = (200, 128, 40)  # red enough, but only just
HOOKS = WatcherConfig(batch_tracklets=4, webhooks=("pager",))


def watched_site() -> SmallSite:
    """With a model that serves."""
    site = small_site()
    site.store.switch_model(DIGEST, 0, NOW, "first")
    return site


def stand(site: SmallSite, question: str = "red coat", cameras: str = "", window_s: float = 600.0) -> int:
    """A query that is on."""
    request = StandingRequest(question, question, "anna", tuple(CameraId(c) for c in cameras.split()), window_s)
    number = site.alerts.book.add(request, NOW)
    site.alerts.book.switch_on(number)
    return number


def comes(site: SmallSite, person: int, camera: str, ago_s: float, colour: str = "red") -> None:
    """Somebody passes."""
    record(
        site.store, site.blobs, [Stay(person, camera, ago_s, painted((COLOURS | {"rust": RUST})[colour]))], site.encoder
    )


def open_model(site: SmallSite, encoder: WardrobeEncoder | None = None) -> Callable[[str], SearchModel]:
    used = encoder or site.encoder
    config = SearchConfig(text=WORDS, appearance=CALIBRATION)
    return lambda _: SearchModel(site.store, used, config, used.unknown_words)


def watcher(site: SmallSite, book: WatchedSite | None = None, **options: Any) -> Watcher:
    model = options.pop("model", open_model(site))
    return Watcher(book or WatchBook(site.store.database), model, options.pop("clock", HandClock(NOW)), HOOKS)


def look(watcher: Watcher) -> None:
    while watcher.run_once():
        pass


def raised(site: SmallSite) -> list[tuple[int, int, str]]:
    """Query, person and camera of each alert, oldest first."""
    found = site.alerts.book.alerts(AlertFilter(), 1000)
    return [(alert.query_number, alert.global_id, alert.camera_id) for alert in reversed(found)]


def two_queries(site: SmallSite) -> None:
    stand(site, window_s=60.0)
    stand(site, "blue coat", window_s=60.0)


def many_pass(site: SmallSite) -> None:
    """Four people, each again within the window and after it, in two colours."""
    for number in range(24):
        camera, colour = ("lobby", "yard")[number // 8 % 2], ("red", "blue")[number % 2]
        comes(site, 1 + number % 4, camera, 900.0 - 11.0 * number, colour)
