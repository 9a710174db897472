"""Standing queries and alerts over HTTP."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipeline.accounts import Role
from pipeline.adapters.watch_book import WatchBook
from pipeline.errors import Unavailable
from pipeline.search.models import SearchConfig, SearchModel
from pipeline.search.watching import Watcher, WatcherConfig
from services.api.alert_feed import AlertFeed
from services.api.dependencies import ApiDependencies
from tests.fakes import DIGEST, HandClock, painted
from tests.services.api.people import add_account, logged_in, program
from tests.small_site import CALIBRATION, COLOURS, NOW, WORDS, SmallSite, Stay, record

STANDING = "/api/v1/standing-queries"
RED: dict[str, Any] = {"question": "woman in a red coat", "made_by": "anna", "cameras": ["lobby", "yard"]}
INJECTION = "red'); DROP TABLE alerts; --<script>alert(1)</script>{{7*7}}"


def watch(site: SmallSite) -> None:
    """What the watcher does with whatever was decided."""
    site.store.switch_model(DIGEST, 0, NOW, "first")
    config = SearchConfig(text=WORDS, appearance=CALIBRATION)
    model = SearchModel(site.store, site.encoder, config, site.encoder.unknown_words)
    watcher = Watcher(WatchBook(site.store.database), lambda _: model, HandClock(NOW), WatcherConfig())
    while watcher.run_once():
        pass


def passes(site: SmallSite, person: int, ago_s: float, camera: str = "lobby") -> None:
    record(site.store, site.blobs, [Stay(person, camera, ago_s, painted(COLOURS["red"]))], site.encoder)


@pytest.fixture
def alerted(client: TestClient, site: SmallSite) -> Iterator[TestClient]:
    """A query is on, and has raised alerts 1 and 2."""
    client.post(STANDING, json=RED | {"question": "red coat", "name": INJECTION[:64]})
    client.post(f"{STANDING}/1/test", json={})
    client.post(f"{STANDING}/1/on")
    passes(site, 1, 500.0)
    passes(site, 4, 400.0)
    watch(site)
    yield client


def test_a_query_is_kept_tried_and_switched_on_in_this_order(client: TestClient) -> None:
    reply = client.post(STANDING, json=RED)
    assert reply.status_code == 201
    assert reply.json()["is_on"] is False and reply.json()["name"] == RED["question"]
    assert "Never tried" in reply.json()["summary"]
    refused = client.post(f"{STANDING}/1/on")
    assert refused.status_code == 422 and "never tried" in refused.json()["error"]["found"]
    tried = client.post(f"{STANDING}/1/test", json={"days": 7}).json()
    assert tried["summary"] == "Would have raised 2 alerts in the last 7 days." and tried["tracklets"] == 4
    assert [(hit["global_id"], hit["camera_id"]) for hit in tried["hits"]] == [(1, "yard"), (1, "lobby")]
    assert client.post(f"{STANDING}/1/on").json()["is_on"] is True
    assert [each["number"] for each in client.get(STANDING).json()] == [1]
    assert client.post(f"{STANDING}/1/off").json()["is_on"] is False
    assert client.delete(f"{STANDING}/1").status_code == 204
    assert client.get(f"{STANDING}/1").status_code == 404


def test_a_query_that_would_ring_too_often_stays_off(client: TestClient) -> None:
    client.post(STANDING, json=RED | {"daily_budget": 1})
    client.post(f"{STANDING}/1/test", json={"days": 0.5})
    refused = client.post(f"{STANDING}/1/on")
    assert refused.status_code == 422 and "would have raised 4 alerts a day" in refused.json()["error"]["found"]


@pytest.mark.parametrize(
    "body",
    [
        RED | {"question": ""},
        RED | {"question": "woman with a zeppelin"},
        RED | {"question": "red\u2028coat"},
        RED | {"cameras": ["attic"]},
        RED | {"cameras": [INJECTION]},
        RED | {"made_by": "anna\r\nX: y"},
        RED | {"window_s": -1},
        RED | {"webhook": "http://169.254.169.254/"},  # nobody names an address over the API
    ],
)
def test_what_cannot_stand_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    assert client.post(STANDING, json=body).status_code == 422
    assert client.get(STANDING).json() == []


def test_alerts_are_listed_shown_and_judged(alerted: TestClient) -> None:
    listed = alerted.get("/api/v1/alerts").json()
    assert [(alert["number"], alert["global_id"], alert["state"]) for alert in listed] == [
        (2, 4, "open"),
        (1, 1, "open"),
    ]
    assert listed[0]["name"] == INJECTION[:64]
    assert alerted.get(listed[0]["crops"][0]).headers["content-type"] == "image/jpeg"
    seen = alerted.post("/api/v1/alerts/2/acknowledge", json={"made_by": "anna"}).json()
    assert (seen["state"], seen["judged_by"], seen["judged_at"]) == ("acknowledged", "anna", NOW)
    assert alerted.get(f"{STANDING}/1").json()["margin"] == 0.0
    alerted.post("/api/v1/alerts/1/false-alarm", json={"made_by": "anna"})
    assert alerted.get(f"{STANDING}/1").json()["margin"] > 0.0
    for asked, numbers in (({"state": "open"}, []), ({"person": 1}, [1]), ({"query": 1, "before": 2}, [1])):
        assert [alert["number"] for alert in alerted.get("/api/v1/alerts", params=asked).json()] == numbers
    assert alerted.get("/api/v1/alerts/1").json()["state"] == "false_alarm"
    assert alerted.get("/api/v1/alerts/9").status_code == 404


@pytest.mark.parametrize("place", [f"/api/v1/alerts/{2**70}", "/api/v1/alerts/x", f"{STANDING}/{2**70}"])
def test_numbers_that_no_database_holds_are_refused(client: TestClient, place: str) -> None:
    assert client.get(place).status_code == 422


def test_filters_that_are_no_filters_are_refused(alerted: TestClient) -> None:
    for asked in ({"state": INJECTION}, {"query": "1 OR 1=1"}, {"person": 2**70}, {"order": "number; --"}):
        assert alerted.get("/api/v1/alerts", params=asked).status_code == 422
    assert len(alerted.get("/api/v1/alerts").json()) == 2


@pytest.mark.parametrize(
    "place",
    [
        STANDING,
        f"{STANDING}/1/test",
        f"{STANDING}/1/on",
        "/api/v1/alerts/1/false-alarm",
        "/api/v1/alerts/1/acknowledge",
    ],
)
def test_pages_of_other_sites_change_nothing(alerted: TestClient, place: str) -> None:
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert alerted.post(place, json={"made_by": "x"}, headers=foreign).status_code == 403


def events(text: str) -> list[tuple[int, dict[str, Any]]]:
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if lines.get("event") == "alert":
            found.append((int(lines["id"]), json.loads(lines["data"])))
    return found


def test_the_feed_goes_on_where_the_listener_was(alerted: TestClient) -> None:
    reply = alerted.get("/api/v1/alerts/feed", params={"after": 0, "for_s": 0})
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert [(number, alert["global_id"]) for number, alert in events(reply.text)] == [(1, 1), (2, 4)]
    assert events(reply.text)[0][1] == alerted.get("/api/v1/alerts/1").json()
    again = alerted.get("/api/v1/alerts/feed", params={"after": 0, "for_s": 0}, headers={"Last-Event-ID": "1"})
    assert [number for number, _ in events(again.text)] == [2]
    assert events(alerted.get("/api/v1/alerts/feed", params={"for_s": 0}).text) == []


def test_the_feed_tells_of_what_comes_and_has_only_so_many_seats(alerted: TestClient, site: SmallSite) -> None:
    async def listen() -> None:
        feed = AlertFeed(site.alerts.book, HandClock(NOW), listeners=1, look_every_s=0.001)
        listener = feed.open(None, 60.0, lambda: True)
        assert await anext(listener) == "retry: 2000\n\n"
        with pytest.raises(Unavailable, match="too many listen"):
            feed.open(None, 60.0, lambda: True)
        passes(site, 5, 300.0)
        watch(site)
        assert [number for number, _ in events(await anext(listener))] == [3]
        await listener.aclose()
        listener = feed.open(None, 60.0, lambda: True)
        await anext(listener)
        feed.close()
        assert [line async for line in listener] == []

    asyncio.run(listen())


def test_the_feed_of_a_login_ends_with_it(deps: ApiDependencies, site: SmallSite, alerted: TestClient) -> None:
    add_account(deps, "ines", Role.INVESTIGATOR)
    ines = logged_in(deps, "ines")
    told = ines.get("/api/v1/alerts/feed", params={"after": 1, "for_s": 0})
    assert [number for number, _ in events(told.text)] == [2]

    async def listen() -> None:
        admitted = [True, False]
        feed = AlertFeed(site.alerts.book, HandClock(NOW), look_every_s=0.001)
        listener = feed.open(1, 60.0, lambda: admitted.pop(0))
        assert await anext(listener) == "retry: 2000\n\n"
        assert [number for number, _ in events(await anext(listener))] == [2]
        passes(site, 5, 300.0)
        watch(site)
        assert [line async for line in listener] == []  # and nothing of alert 3

    asyncio.run(listen())


def test_who_judges_an_alert_is_the_account_that_says_so(deps: ApiDependencies, alerted: TestClient) -> None:
    ines = program(deps, "ines", Role.INVESTIGATOR)
    assert ines.post("/api/v1/alerts/1/acknowledge", json={"made_by": "bo"}).json()["judged_by"] == "ines"
    assert ines.post(STANDING, json={"question": "blue coat"}).json()["made_by"] == "ines"


def test_places_in_a_question_that_stands_are_its_cameras_and_times_are_refused(client: TestClient) -> None:
    asked = {"question": "red coat in the lobby", "made_by": "anna", "cameras": ["yard"]}
    kept = client.post(STANDING, json=asked).json()
    assert (kept["question"], kept["cameras"]) == ("red coat", ["yard", "lobby"])
    for question, found in (
        ("red coat in the lobby since yesterday", "the time 'since yesterday' in a question that stands"),
        ("anybody in the lobby", "a question that describes nobody"),
    ):
        refused = client.post(STANDING, json=asked | {"question": question})
        assert refused.status_code == 422 and refused.json()["error"]["found"] == found


def test_where_a_search_needs_a_reason_a_question_that_stands_needs_one_too(deps: ApiDependencies) -> None:
    client = program(dataclasses.replace(deps, needs_reason=True), "ines", Role.INVESTIGATOR)
    assert client.post(STANDING, json=RED).status_code == 422
    assert client.post(STANDING, json=RED | {"reason": "case 7"}).status_code == 201
    assert client.post(f"{STANDING}/1/test", json={}).status_code == 422
    assert client.post(f"{STANDING}/1/test", json={"reason": "case 7"}).status_code == 200
