"""Asking over HTTP: by words, by a picture, by a known person; and what is said to bad questions."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY

from tests.fakes import jpeg, painted
from tests.small_site import COLOURS, NOW


def people(reply: Any) -> list[int]:
    assert reply.status_code == 200, reply.text
    return [person["global_id"] for person in reply.json()["people"]]


def problem(reply: Any, status: int) -> dict[str, str]:
    assert reply.status_code == status, reply.text
    parts: dict[str, str] = reply.json()["error"]
    assert set(parts) == {"found", "expected", "to_do"} and all(parts.values())
    return parts


def test_words_find_the_person_with_the_whole_route(client: TestClient) -> None:
    reply = client.get("/api/v1/search", params={"q": "red coat"})
    assert people(reply) == [1]
    found = reply.json()["people"][0]
    assert [stay["camera_id"] for stay in found["route"]] == ["lobby", "yard"]
    assert found["is_confident"] and found["confidence"] > 0.9
    assert found["first_seen_at"] < found["last_seen_at"]
    assert client.get(found["crops"][0]).headers["content-type"] == "image/jpeg"


def test_a_json_body_asks_the_same(client: TestClient) -> None:
    asked = {"q": "blue shirt", "cameras": ["yard"], "since": "1h", "limit": 3}
    assert people(client.post("/api/v1/search", json=asked)) == [2]


def test_a_picture_finds_who_looks_like_it(client: TestClient) -> None:
    picture = jpeg(painted(COLOURS["green"], 200, 90))
    reply = client.post("/api/v1/search/image", files={"picture": ("p.jpg", picture)}, data={"cameras": ["gate"]})
    assert people(reply) == [3]


def test_a_known_person_is_not_among_those_alike(client: TestClient) -> None:
    reply = client.get("/api/v1/identities/1/similar", params={"weak": True})
    assert sorted(people(reply)) == [2, 3]
    assert not any(person["is_confident"] for person in reply.json()["people"])


def test_nobody_alike_is_said_plainly_and_the_closest_come_only_on_request(client: TestClient) -> None:
    reply = client.get("/api/v1/search", params={"q": "white coat"}).json()
    assert (reply["is_match"], reply["people"], reply["candidates"]) == (False, [], 3)
    assert "No confident match" in reply["summary"]
    weak = client.get("/api/v1/search", params={"q": "white coat", "weak": True}).json()
    assert len(weak["people"]) == 3 and not weak["is_match"]


def test_unknown_words_are_named_and_nobody_is_called_a_match(client: TestClient) -> None:
    reply = client.get("/api/v1/search", params={"q": "red zeppelin"}).json()
    assert reply["unknown_words"] == ["zeppelin"] and "zeppelin" in reply["summary"]
    assert not reply["is_match"] and "No confident match" in reply["summary"]


def test_a_question_of_unknown_words_only_has_no_match(client: TestClient) -> None:
    reply = client.get("/api/v1/search", params={"q": "zeppelin gramophone", "weak": True}).json()
    assert not reply["is_match"] and len(reply["unknown_words"]) == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"cameras": "lobby"}, [1]),
        ({"cameras": ["gate", "yard"]}, [1]),
        ({"since": "50m"}, []),
        ({"since": "90m", "until": "30m"}, [1]),
        ({"until": "90m"}, [1]),
        ({"since": "2026-05-28T18:00", "until": "2026-05-28T19:00+00:00"}, [1]),
        ({"shortest_s": 16}, [1]),
        ({"shortest_s": 17}, []),
    ],
)
def test_filters_narrow_the_search(client: TestClient, options: dict[str, Any], expected: list[int]) -> None:
    assert people(client.get("/api/v1/search", params={"q": "red"} | options)) == expected


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"q": "  "}, "empty"),
        ({"q": "x" * 301}, "q"),
        ({}, "q"),
        ({"q": "red", "since": "teatime"}, "teatime"),
        ({"q": "red", "since": "1h", "until": "2h"}, "before"),
        ({"q": "red", "cameras": "attic"}, "attic"),
        ({"q": "red", "limit": 0}, "limit"),
        ({"q": "red", "limit": 101}, "limit"),
        ({"q": "red", "colour": "blue"}, "colour"),
    ],
)
def test_a_bad_question_is_answered_with_what_is_wrong(client: TestClient, params: dict[str, Any], word: str) -> None:
    assert word in problem(client.get("/api/v1/search", params=params), 422)["found"]


def test_an_unknown_camera_is_answered_with_the_known_ones(client: TestClient) -> None:
    parts = problem(client.get("/api/v1/search", params={"q": "red", "cameras": "attic"}), 422)
    assert parts["expected"] == "one of gate, lobby, yard"


def test_an_unknown_person_is_not_found(client: TestClient) -> None:
    problem(client.get("/api/v1/identities/99/similar"), 404)
    problem(client.get("/api/v1/identities/99"), 404)


def test_control_characters_in_a_question_do_no_harm(client: TestClient) -> None:
    assert people(client.get("/api/v1/search", params={"q": "red\x00\x1b[31m coat\n"})) == [1]


def test_queries_are_counted_by_outcome(client: TestClient) -> None:
    def count(outcome: str) -> float:
        return REGISTRY.get_sample_value("sightline_queries_total", {"kind": "text", "outcome": outcome}) or 0.0

    before = [count(outcome) for outcome in ("answered", "no_match", "error")]
    for question in ("red", "white", ""):
        client.get("/api/v1/search", params={"q": question})
    assert [count(outcome) for outcome in ("answered", "no_match", "error")] == [number + 1 for number in before]


def test_places_and_times_in_a_question_are_filters_that_can_be_taken_away(client: TestClient) -> None:
    reply = client.get("/api/v1/search", params={"q": "red coat in the yard in the last two hours"}).json()
    assert [person["global_id"] for person in reply["people"]] == [1]
    place, moment = reply["chips"]
    assert (place["kind"], place["camera_id"], place["without"]) == ("camera", "yard", "red coat in the last two hours")
    assert (moment["kind"], moment["since_at"]) == ("time", NOW - 7200.0)
    elsewhere = client.get("/api/v1/search", params={"q": "red coat at the gate", "weak": True}).json()
    assert [person["global_id"] for person in elsewhere["people"]] == [3]


def test_a_question_of_places_and_times_alone_is_answered_with_everybody_there(client: TestClient) -> None:
    reply = client.get("/api/v1/search", params={"q": "anybody in the yard today"}).json()
    assert [person["global_id"] for person in reply["people"]] == [2, 1]
    assert [person["confidence"] for person in reply["people"]] == [None, None]


def test_what_is_asked_for_and_denied_is_told(client: TestClient) -> None:
    reply = client.get("/api/v1/search", params={"q": "woman, red coat, no jacket"}).json()
    assert (reply["said"], reply["denied"]) == (["woman", "red coat"], ["jacket"])


def test_verdicts_move_the_confidence_of_the_site(client: TestClient) -> None:
    def confidence() -> float:
        return float(client.get("/api/v1/search", params={"q": "red coat"}).json()["people"][0]["confidence"])

    before = confidence()
    for name in ("red coat", "a red coat", "the red coat", "red jacket"):
        body = {"q": name, "global_id": 1, "is_right": False, "made_by": "ann"}
        assert client.post("/api/v1/search/verdicts", json=body).status_code == 200
    reply = client.post(
        "/api/v1/search/verdicts", json={"q": "red coat", "global_id": 1, "is_right": False, "made_by": "ann"}
    )
    assert reply.json() == {"verdicts": 4}
    assert confidence() < before


@pytest.mark.parametrize("global_id", [77, -1])
def test_a_verdict_on_nobody_is_refused(client: TestClient, global_id: int) -> None:
    body = {"q": "red coat", "global_id": global_id, "is_right": True, "made_by": "ann"}
    problem(client.post("/api/v1/search/verdicts", json=body), 404)


def test_no_page_of_another_site_can_make_a_browser_judge(client: TestClient) -> None:
    body = {"q": "red coat", "global_id": 1, "is_right": True, "made_by": "ann"}
    foreign = {"Origin": "https://elsewhere.example"}
    assert client.post("/api/v1/search/verdicts", json=body, headers=foreign).status_code == 403
