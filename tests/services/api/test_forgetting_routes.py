"""Erasures and retention over HTTP; and who may not ask for them."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from pipeline.adapters.forgetter import Forgetter
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.forgetting import Keeping
from pipeline.matching.eraser import apply_erasures
from tests.fakes import HandClock
from tests.pipeline.adapters.test_forgetter import NightCopies
from tests.small_site import NOW, SmallSite

ASK = {"global_id": 1, "made_by": "anna", "why": "case 7"}


def let_others_work(site: SmallSite) -> None:
    clock = HandClock(NOW + 1)
    apply_erasures(site.store, clock, 1e6)
    clock.sleep(100.0)
    Forgetter(site.store, site.blobs, MemoryBus(), lambda _: Keeping(None, None, None), NightCopies(), clock).run_once()


def test_a_dry_run_says_how_much_there_is_and_keeps_everything(client: TestClient) -> None:
    reply = client.post("/api/v1/erasures", json=ASK | {"dry_run": True})
    assert reply.status_code == 202 and reply.json()["receipt"] is None
    assert reply.json()["expected"]["tracklets"] == len(tracklets(client, 1)) > 0
    assert client.get("/api/v1/erasures").json() == []


def test_an_erased_person_is_found_by_nothing(client: TestClient, site: SmallSite) -> None:
    person = client.get("/api/v1/identities/1").json()
    asked = client.post("/api/v1/erasures", json=ASK)
    assert asked.status_code == 202 and "waits for the matcher" in asked.json()["summary"]
    let_others_work(site)
    told = client.get(f"/api/v1/erasures/{asked.json()['receipt']['number']}").json()
    assert told["receipt"]["finished_at"] is not None and told["summary"].startswith("nothing is left")
    assert told["receipt"]["removed"] == asked.json()["expected"]
    for path in ("/identities/1", "/identities/1/look", *[crop.removeprefix("/api/v1") for crop in person["crops"]]):
        assert client.get(f"/api/v1{path}").status_code in (404, 422), path
    everybody = client.get("/api/v1/identities").json()["people"]
    assert everybody and 1 not in [each["global_id"] for each in everybody]
    assert client.get(f"/api/v1/tracklets/{person['route'][0]['tracklet_ids'][0]}/explanation").status_code in (
        404,
        422,
    )


def test_what_was_said_about_an_erased_person_leaves_the_confidences_with_the_person(
    client: TestClient, site: SmallSite
) -> None:
    def confidence() -> float:
        reply = client.get("/api/v1/search", params={"q": "blue shirt", "weak": True}).json()
        return next(float(each["confidence"]) for each in reply["people"] if each["global_id"] == 2)

    before = confidence()
    for question in ("red coat", "red jacket", "a red coat", "the red coat"):
        said = {"q": question, "global_id": 1, "is_right": False, "made_by": "ann"}
        assert client.post("/api/v1/search/verdicts", json=said).status_code == 200
    assert confidence() < before
    client.post("/api/v1/erasures", json=ASK)
    let_others_work(site)
    assert confidence() == before


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/v1/erasures", ASK | {"global_id": 999}, 422),
        ("/api/v1/erasures", ASK | {"why": ""}, 422),
        ("/api/v1/erasures", ASK | {"everybody": True}, 422),
    ],
)
def test_what_cannot_be_erased_is_refused(client: TestClient, path: str, body: dict[str, object], status: int) -> None:
    assert client.post(path, json=body).status_code == status
    assert client.get("/api/v1/erasures").json() == []


def test_no_page_of_another_site_can_have_anybody_erased(client: TestClient) -> None:
    reply = client.post("/api/v1/erasures", json=ASK, headers={"Sec-Fetch-Site": "cross-site"})
    assert reply.status_code == 403 and client.get("/api/v1/erasures").json() == []


def test_an_unknown_receipt_is_missing(client: TestClient) -> None:
    assert client.get("/api/v1/erasures/7").status_code == 404


def test_retention_tells_of_each_camera_and_kind(client: TestClient, site: SmallSite) -> None:
    told = client.get("/api/v1/retention").json()
    cameras = {
        stay["camera_id"] for each in client.get("/api/v1/identities").json()["people"] for stay in each["route"]
    }
    assert {each["camera_id"] for each in told} == cameras and len(told) == 3 * len(cameras)
    crops = [each for each in told if each["kind"] == "crops"]
    assert all(each["days"] == 30.0 and each["kept_from"] is None and each["oldest_at"] < NOW for each in crops)
    assert {each["days"] for each in told if each["kind"] == "events"} == {None}


def tracklets(client: TestClient, global_id: int) -> list[str]:
    route = client.get(f"/api/v1/identities/{global_id}").json()["route"]
    return [name for stay in route for name in stay["tracklet_ids"]]
