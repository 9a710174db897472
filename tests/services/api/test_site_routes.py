"""A person of one site is looked for at another: by looks, with numbers of that site, and no more is claimed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from pipeline.contracts import pack_vector
from services.api.app import create_app
from services.api.dependencies import ApiDependencies
from services.api.other_sites import OtherSite, open_site
from tests.fakes import DIGEST, HandClock
from tests.small_site import NOW, small_site

TOKEN = "t0ken-of-the-annex"


@pytest.fixture
def annex() -> Iterator[TestClient]:
    """Another site, where the same people happen to be seen."""
    there = small_site()
    deps = ApiDependencies(
        search=there.search,
        blobs=there.blobs,
        board=there.board,
        corrections=there.store,
        alerts=there.alerts,
        clock=HandClock(NOW),
        zone=UTC,
        site="annex",
        token=TOKEN,
    )
    yield TestClient(create_app(deps), base_url="http://localhost", headers={"Authorization": f"Bearer {TOKEN}"})
    there.store.close()


@pytest.fixture
def client(deps: ApiDependencies, annex: TestClient) -> Iterator[TestClient]:
    away = open_site("away", "http://127.0.0.1:1", TOKEN)
    strange = httpx.Client(
        base_url="http://strange", transport=httpx.MockTransport(lambda _: httpx.Response(200, text="hello"))
    )
    sites = (OtherSite("annex", annex), away, OtherSite("strange", strange))
    with away.client, strange, TestClient(create_app(replace(deps, other_sites=sites)), "http://localhost") as opened:
        yield opened


def look(digest: str = DIGEST, vector: bytes | None = None) -> dict[str, str]:
    numbers = pack_vector(np.eye(1, 18)[0]) if vector is None else vector
    return {"model_digest": digest, "vector": base64.b64encode(numbers).decode()}


def test_a_person_is_found_at_the_other_site_by_looks_and_the_answer_claims_no_more(client: TestClient) -> None:
    reply = client.get("/api/v1/identities/1/elsewhere").json()
    assert "for you to judge" in reply["note"]
    found = reply["sites"][0]
    assert (found["site"], found["address"], found["problem"]) == ("annex", "http://localhost", None)
    assert [person["global_id"] for person in found["answer"]["people"]] == [1]


def test_a_site_that_cannot_answer_says_why_and_the_others_answer_all_the_same(client: TestClient) -> None:
    annex, away, strange = client.get("/api/v1/identities/2/elsewhere").json()["sites"]
    assert annex["answer"]["is_match"]
    assert (away["answer"], away["problem"]["found"]) == (None, "away does not answer (ConnectError)")
    assert (strange["answer"], "unreadable" in strange["problem"]["found"]) == (None, True)
    assert TOKEN not in f"{away} {strange}"


def test_options_are_those_of_the_other_site(client: TestClient) -> None:
    asked = {"cameras": "nowhere"}
    annex = client.get("/api/v1/identities/1/elsewhere", params=asked).json()["sites"][0]
    assert (annex["answer"], annex["problem"]["found"]) == (None, "camera 'nowhere' is unknown")
    weak = client.get("/api/v1/identities/1/elsewhere", params={"weak": True, "limit": 2}).json()["sites"][0]
    assert len(weak["answer"]["people"]) == 2


def test_a_look_of_one_site_is_a_question_at_another(client: TestClient, annex: TestClient) -> None:
    shown = client.get("/api/v1/identities/3/look").json()
    assert shown["model_digest"] == DIGEST
    reply = annex.post("/api/v1/search/look", json=shown).json()
    assert [person["global_id"] for person in reply["people"]] == [3]


def test_a_look_of_another_model_is_refused(client: TestClient) -> None:
    for asked in (look("another-model"), look(vector=pack_vector(np.eye(1, 99)[0]))):
        reply = client.post("/api/v1/search/look", json=asked)
        assert (reply.status_code, "same model" in reply.json()["error"]["to_do"]) == (422, True)


@pytest.mark.parametrize(
    "vector", [b"", b"\x00", b"\x00\x00" * 18, b"\xff\xff" * 18, pack_vector(np.eye(1, 18)[0]) * 2]
)
def test_what_is_no_look_is_refused(client: TestClient, vector: bytes) -> None:
    assert client.post("/api/v1/search/look", json=look(vector=vector)).status_code == 422


@pytest.mark.parametrize("path", ["look", "elsewhere"])
def test_nobody_looks_for_a_person_who_is_not_there(client: TestClient, path: str) -> None:
    assert client.get(f"/api/v1/identities/99/{path}").status_code == 404


def test_without_other_sites_there_are_no_answers(deps: ApiDependencies) -> None:
    with TestClient(create_app(deps), "http://localhost") as alone:
        assert alone.get("/api/v1/identities/1/elsewhere").json()["sites"] == []
