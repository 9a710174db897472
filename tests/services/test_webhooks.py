"""What a webhook is told of an alert, and what becomes of an attempt that fails."""

from __future__ import annotations

import base64
import json
import logging

import pytest

from pipeline.adapters.delivery_book import ATTEMPTS, DeliveryBook
from pipeline.adapters.standing_book import AlertFilter
from pipeline.adapters.watch_book import WatchBook
from pipeline.adapters.webhook import WebhookTarget
from pipeline.contracts import GlobalId, IdentityEventKind
from pipeline.decisions import Revision
from pipeline.errors import Unavailable
from pipeline.search.models import SearchConfig, SearchModel
from pipeline.search.standing import StandingRequest
from pipeline.search.watching import Watcher, WatcherConfig
from services.settings import AlertSettings
from services.webhooks import Teller, trial_message, webhook_target
from tests.fakes import DIGEST, HandClock, painted
from tests.small_site import CALIBRATION, COLOURS, NOW, WORDS, SmallSite, Stay, record, small_site

SETTINGS = AlertSettings.model_validate(
    {"webhooks": {"pager": {"address": "https://example.com/T0KEN", "secret": "0123456789abcdef"}}}
)


@pytest.fixture
def site() -> SmallSite:
    """One alert was just raised: person 1 in the lobby."""
    site = small_site()
    site.store.switch_model(DIGEST, 0, NOW, "first")
    book = site.alerts.book
    book.switch_on(book.add(StandingRequest("red coat", "red <b>", "anna"), NOW))
    record(site.store, site.blobs, [Stay(1, "lobby", 500.0, painted(COLOURS["red"]))], site.encoder)
    config = SearchConfig(text=WORDS, appearance=CALIBRATION)
    model = SearchModel(site.store, site.encoder, config)
    watcher = Watcher(
        WatchBook(site.store.database), lambda _: model, HandClock(NOW), WatcherConfig(webhooks=("pager",))
    )
    watcher.run_once()
    return site


class Pager:
    """A webhook that answers as it is told to."""

    def __init__(self) -> None:
        self.is_away = False
        self.heard: list[tuple[str, dict[str, object]]] = []

    def __call__(self, target: WebhookTarget, body: bytes, delivery_id: str, now: float) -> None:
        if self.is_away:
            raise Unavailable(f"webhook {target.name} at {target.host} answers with status 503")
        self.heard.append((delivery_id, json.loads(body)))


def teller(site: SmallSite, pager: Pager, clock: HandClock, pictures: bool = False) -> Teller:
    target = webhook_target("pager", SETTINGS.webhooks["pager"])
    deliveries, blobs = DeliveryBook(site.store.database), site.blobs if pictures else None
    return Teller("main", target, deliveries, site.alerts.book, blobs, clock, pager)


def test_an_alert_is_told_once_with_what_was_seen_and_no_picture(site: SmallSite) -> None:
    pager, clock = Pager(), HandClock(NOW)
    at_work = teller(site, pager, clock)
    assert (at_work.run_once(), at_work.run_once()) == (1, 0)
    ((delivery_id, message),) = pager.heard
    assert delivery_id == "1-pager"
    assert (message["version"], message["kind"], message["site"]) == (1, "alert", "main")
    (alert,) = site.alerts.book.alerts(AlertFilter(), 9)
    assert message["alert"] == {
        "number": 1,
        "query": {"number": 1, "name": "red <b>", "question": "red coat"},
        "global_id": 1,
        "camera_id": "lobby",
        "tracklet_id": alert.tracklet_id,
        "started_at": NOW - 500.0,
        "ended_at": NOW - 492.0,
        "raised_at": NOW,
        "confidence": round(alert.confidence, 4),
    }


def test_a_picture_is_sent_where_it_is_asked_for(site: SmallSite) -> None:
    pager = Pager()
    teller(site, pager, HandClock(NOW), pictures=True).run_once()
    alert = pager.heard[0][1]["alert"]
    (kept,) = site.alerts.book.alerts(AlertFilter(), 9)
    assert isinstance(alert, dict)
    assert base64.b64decode(alert["picture"]["base64"]) == site.blobs.get(kept.crop_keys[0])


def test_a_webhook_that_is_away_is_told_later_of_whomever_it_is_then(site: SmallSite) -> None:
    pager, clock = Pager(), HandClock(NOW)
    at_work = teller(site, pager, clock)
    pager.is_away = True
    assert (at_work.run_once(), at_work.run_once()) == (1, 0)
    merge = Revision(IdentityEventKind.MERGED, GlobalId(1), GlobalId(2), 1.0, "one coat")
    site.store.commit_decisions((), NOW, [merge])
    pager.is_away = False
    clock.sleep(5.0)
    assert at_work.run_once() == 1
    alert = pager.heard[0][1]["alert"]
    assert isinstance(alert, dict) and alert["global_id"] == 2


def test_a_webhook_that_stays_away_is_given_up_and_no_secret_is_logged(
    site: SmallSite, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pager, clock = Pager(), HandClock(NOW)
    at_work = teller(site, pager, clock)
    pager.is_away = True
    attempts = 0
    for _ in range(40):
        attempts += at_work.run_once()
        clock.sleep(3600.0)
    assert attempts == ATTEMPTS
    (dead,) = DeliveryBook(site.store.database).dead(9)
    assert "status 503" in dead.problem and "given up" in caplog.text
    assert "T0KEN" not in caplog.text and "0123456789abcdef" not in caplog.text
    assert "T0KEN" not in repr(SETTINGS) and "0123456789abcdef" not in repr(SETTINGS)


def test_a_removed_query_is_told_of_no_more(site: SmallSite) -> None:
    site.alerts.book.remove(1)
    pager = Pager()
    assert teller(site, pager, HandClock(NOW)).run_once() == 0 and pager.heard == []


def test_the_trial_message_says_that_it_is_one() -> None:
    assert json.loads(trial_message("main")) == {"version": 1, "kind": "test", "site": "main"}
