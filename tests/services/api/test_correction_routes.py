"""Corrections and explanations over HTTP; and who may not make them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipeline.contracts import GlobalId, IdentityEventKind
from pipeline.decisions import CandidateEvidence, Decision, Evidence, Revision
from pipeline.matching.corrector import apply_corrections
from services.api.app import create_app
from services.api.dependencies import ApiDependencies
from tests.fakes import HandClock, embedding
from tests.small_site import NOW, SmallSite

MERGE = {"kind": "merge", "global_ids": [1, 2], "made_by": "anna", "note": "same walk"}


def tracklets_of(client: TestClient, global_id: int) -> list[str]:
    route = client.get(f"/api/v1/identities/{global_id}").json()["route"]
    return [name for stay in route for name in stay["tracklet_ids"]]


def let_matcher_work(site: SmallSite) -> None:
    apply_corrections(site.store, HandClock(NOW + 1))


def test_a_correction_is_accepted_applied_and_told(client: TestClient, site: SmallSite) -> None:
    reply = client.post("/api/v1/corrections", json=MERGE)
    assert reply.status_code == 202
    assert reply.json() | {"number": 1, "applied_at": None, "made_at": NOW, "made_by": "anna"} == reply.json()
    assert reply.json()["summary"] == "persons 1 and 2 are one: waits for the matcher"
    let_matcher_work(site)
    told = client.get("/api/v1/corrections/1").json()
    assert (told["applied_at"], told["outcome"]) == (NOW + 1, "1 tracklet went from person 2 to person 1")
    assert len(told["event_ids"]) == 1


def test_the_old_number_of_a_merged_person_answers_with_the_new_one(client: TestClient, site: SmallSite) -> None:
    client.get("/api/v1/search", params={"q": "blue shirt"})  # fills the caches with what was so before
    client.post("/api/v1/corrections", json=MERGE)
    let_matcher_work(site)
    person = client.get("/api/v1/identities/2").json()
    assert (person["global_id"], len(person["route"])) == (1, 3)
    moved = client.get("/people/2")
    assert (moved.status_code, moved.headers["location"]) == (302, "/people/1")
    assert client.get("/people/1").status_code == 200
    found = client.get("/api/v1/search", params={"q": "blue shirt", "weak": True}).json()["people"]
    assert {each["global_id"] for each in found} == {1, 3}
    alike = client.get("/api/v1/identities/2/similar", params={"weak": True}).json()["people"]
    assert [each["global_id"] for each in alike] == [3]
    assert client.get("/api/v1/identities").json()["total"] == 2


def test_a_split_and_its_undo(client: TestClient, site: SmallSite) -> None:
    first, second = tracklets_of(client, 1)
    body = {"kind": "split", "global_ids": [1], "tracklet_ids": [second], "made_by": "anna"}
    assert client.post("/api/v1/corrections", json=body).status_code == 202
    let_matcher_work(site)
    assert client.get("/api/v1/identities/4").json()["route"][0]["camera_id"] == "yard"
    undone = client.post("/api/v1/corrections/1/undo", json={"made_by": "ben", "note": "my mistake"})
    assert (undone.status_code, undone.json()["undoes"]) == (202, 1)
    let_matcher_work(site)
    assert tracklets_of(client, 1) == [first, second]
    listed = client.get("/api/v1/corrections").json()
    assert listed["total"] == 2
    assert [(each["number"], each["kind"], each["undone_by"]) for each in listed["corrections"]] == [
        (2, "undo", None),
        (1, "split", 2),
    ]
    assert client.get("/api/v1/corrections", params={"limit": 1}).json()["corrections"][0]["number"] == 2


@pytest.mark.parametrize(
    ("body", "status", "found"),
    [
        (MERGE | {"global_ids": [1, 99]}, 422, "there is no person 99"),
        (MERGE | {"global_ids": [1]}, 422, "1 different persons"),
        (MERGE | {"made_by": ""}, 422, "made_by"),
        (MERGE | {"note": "x" * 201}, 422, "note"),
        (MERGE | {"kind": "undo"}, 422, "kind"),
        (MERGE | {"applied_at": 5}, 422, "applied_at"),
        ({"kind": "same", "tracklet_ids": ["a/b/1/0", "a/b/2/0"], "made_by": "anna"}, 422, "'a/b/1/0' is unknown"),
    ],
)
def test_what_cannot_be_corrected_is_refused_with_the_remedy(
    client: TestClient, site: SmallSite, body: dict[str, Any], status: int, found: str
) -> None:
    reply = client.post("/api/v1/corrections", json=body)
    assert reply.status_code == status
    assert found in reply.json()["error"]["found"] and reply.json()["error"]["to_do"]
    assert site.store.corrections(9) == []


def test_what_was_not_corrected_cannot_be_shown_or_undone(client: TestClient) -> None:
    assert client.get("/api/v1/corrections/7").status_code == 404
    reply = client.post("/api/v1/corrections/7/undo", json={"made_by": "anna"})
    assert reply.status_code == 422 and "correction 7 is unknown" in reply.json()["error"]["found"]


# --- who may change anything ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),  # a program
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, 202),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://sightline.example"}, 202),  # behind a proxy
        ({"Origin": "http://localhost"}, 202),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:1234"}, 403),
        ({"Origin": "http://localhost:1234"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/corrections", "/api/v1/corrections/1/undo"])
def test_no_page_of_another_site_changes_anything(
    client: TestClient, site: SmallSite, path: str, headers: dict[str, str], status: int
) -> None:
    assert client.post("/api/v1/corrections", json=MERGE).status_code == 202
    body = MERGE if path.endswith("corrections") else {"made_by": "anna"}
    reply = client.post(path, json=body, headers=headers)
    assert reply.status_code == status
    assert len(site.store.corrections(9)) == (2 if status == 202 else 1)


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_a_form_can_send_is_no_correction(client: TestClient, site: SmallSite, media_type: str) -> None:
    content = '{"kind": "merge", "global_ids": [1, 2], "made_by": "anna"}'
    reply = client.post("/api/v1/corrections", content=content, headers={"Content-Type": media_type})
    assert reply.status_code == 422 and site.store.corrections(9) == []


def test_with_a_token_nobody_corrects_without_it(deps: ApiDependencies) -> None:
    client = TestClient(create_app(dataclasses.replace(deps, token="t" * 20)), base_url="http://localhost")
    assert client.post("/api/v1/corrections", json=MERGE).status_code == 401
    admitted = client.post("/api/v1/corrections", json=MERGE, headers={"Authorization": f"Bearer {'t' * 20}"})
    assert admitted.status_code == 202


# --- explanations -----------------------------------------------------------------------------------------------------

EVIDENCE = Evidence(
    calibration=3,
    candidates=(
        CandidateEvidence(
            global_id=1,
            camera_id="yard",
            similarity=0.81,
            appearance_log_odds=3.25,
            gap_s=34.0,
            transit_log_odds=-0.5,
            probability=0.931,
        ),
        CandidateEvidence(
            global_id=2,
            camera_id="gate",
            similarity=0.9,
            appearance_log_odds=5.0,
            probability=0.0,
            constraint="elsewhere in this camera at the same time",
        ),
    ),
    new_probability=0.069,
    threshold=0.9,
)


def test_a_decision_is_explained_in_words_and_numbers(client: TestClient, site: SmallSite) -> None:
    seen = embedding("gate", 900, started_at=NOW - 30.0, ended_at=NOW - 26.0)
    made = Decision(seen, GlobalId(1), False, 0.931, "the coat and the way", is_tentative=True, evidence=EVIDENCE)
    site.store.commit_decisions([made], NOW)
    client.post("/api/v1/corrections", json=MERGE | {"global_ids": [3, 1]})
    let_matcher_work(site)
    reply = client.get(f"/api/v1/tracklets/{seen.tracklet_id}/explanation").json()
    assert (reply["global_id"], reply["camera_id"], reply["corrections"]) == (3, "gate", [1])
    assert reply["decision"]["evidence"]["candidates"][0]["transit_log_odds"] == -0.5
    assert reply["decision"]["is_tentative"] and reply["decision"]["global_id"] == 1
    assert [(each["kind"], each["from_global_id"], each["global_id"]) for each in reply["changes"]] == [
        ("merged", 1, 3)
    ]
    assert reply["summary"] == [
        "gate/b1/900/0 was seen at gate from 2026-05-28T20:26:10+00:00 to 2026-05-28T20:26:14+00:00. It is person 3.",
        "Person 1 was given to it at 2026-05-28T20:26:40+00:00 (tentative, confidence 93 %): the coat and the way.",
        "Candidate 1, last seen at yard: similarity 0.81 (log-odds +3.25), 34 s after the last sighting (log-odds "
        "-0.50); probability 0.931.",
        "Candidate 2, last seen at gate: similarity 0.90 (log-odds +5.00); probability 0.000. Not possible: elsewhere "
        "in this camera at the same time.",
        "Somebody new: probability 0.069. A known person is joined from 0.900 on; by calibration 3.",
        "It went from person 1 to 3 at 2026-05-28T20:26:41+00:00 (merged): correction 1 by anna: same walk.",
        "Law: correction 1 by anna says that persons 3 and 1 are one.",
    ]


def test_a_late_merge_is_explained_by_what_led_to_it(client: TestClient, site: SmallSite) -> None:
    seen = embedding("gate", 900, started_at=NOW - 30.0, ended_at=NOW - 26.0)
    site.store.commit_decisions([Decision(seen, GlobalId(9), True, 0.9, "new")], NOW)
    candidate = EVIDENCE.candidates[0].model_copy(update={"gap_s": -2.4})
    evidence = EVIDENCE.model_copy(update={"candidates": (candidate,)})
    merge = Revision(IdentityEventKind.MERGED, GlobalId(9), GlobalId(1), 0.931, "they are one", evidence=evidence)
    site.store.commit_decisions((), NOW, [merge])
    reply = client.get(f"/api/v1/tracklets/{seen.tracklet_id}/explanation").json()
    assert reply["changes"][0]["evidence"]["new_probability"] == 0.069
    assert reply["summary"][2:] == [
        "It went from person 9 to 1 at 2026-05-28T20:26:40+00:00 (merged): they are one.",
        "Candidate 1, last seen at yard: similarity 0.81 (log-odds +3.25), 2 s before the end of the last sighting "
        "(log-odds -0.50); probability 0.931.",
        "Two people: probability 0.069. Persons are merged from 0.900 on; by calibration 3.",
    ]


def test_an_unknown_tracklet_is_not_found(client: TestClient) -> None:
    reply = client.get("/api/v1/tracklets/gate/b1/900/0/explanation")
    assert reply.status_code == 404 and "'gate/b1/900/0'" in reply.json()["error"]["found"]
