"""A viewer sees what the granted cameras saw, on every route, and nothing of the others."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipeline.accounts import Role
from pipeline.contracts import CameraId, GlobalId, TrackletId
from pipeline.decisions import Applied, CandidateEvidence, CorrectionKind, CorrectionRequest, Decision, Evidence
from pipeline.kept import Sighting
from services.api.dependencies import ApiDependencies
from services.api.rights import RIGHTS
from tests.fakes import embedding, jpeg, painted
from tests.services.api.people import HTML, program
from tests.small_site import COLOURS, NOW, SmallSite

# Person 1 was seen at lobby and yard, person 2 at yard alone, person 3 at gate alone.
RED = {"q": "red coat", "weak": "true"}


@pytest.fixture
def viewer(deps: ApiDependencies) -> TestClient:
    """Somebody who may see the lobby alone."""
    return program(deps, "vera", Role.VIEWER, ["lobby"])


def stays_of(site: SmallSite) -> list[Sighting]:
    routes = site.store.routes([GlobalId(number) for number in (1, 2, 3)]).values()
    return [stay for route in routes for stay in route]


def keys_at(site: SmallSite, camera: str) -> set[str]:
    return {key for stay in stays_of(site) if stay.camera_id == camera for key in stay.crop_keys}


def every_answer(client: TestClient, site: SmallSite) -> dict[str, str]:
    """What every route that a viewer may call says when it is asked for everything there is."""
    picture = {"picture": ("a.jpg", jpeg(painted(COLOURS["blue"])), "image/jpeg")}
    keys = [key for camera in ("lobby", "yard", "gate") for key in keys_at(site, camera)]
    names = [name for stay in stays_of(site) for name in stay.tracklet_ids]
    asked = {
        ("GET", "/"): [
            {},
            {"params": RED},
            {"params": {"q": "blue coat"}},
            {"params": {"since": "1d"}},
            *({"params": {"like": number, "weak": "true"}} for number in (1, 2, 3)),
        ],
        ("POST", "/"): [{"data": {"q": "blue coat"}}, {"files": picture, "data": {"weak": "true"}}],
        ("GET", "/people"): [{}],
        ("GET", "/people/{global_id}"): [{}],
        ("GET", "/cameras"): [{}],
        ("GET", "/cameras/wall"): [{}],
        ("GET", "/api/v1/search"): [{"params": RED}, {"params": {"q": "blue", "weak": "true"}}],
        ("POST", "/api/v1/search"): [{"json": {"q": "blue", "weak": True}}],
        ("POST", "/api/v1/search/image"): [{"files": picture, "data": {"weak": "true"}}],
        ("POST", "/api/v1/search/look"): [{"json": {"model_digest": "x", "vector": "AA=="}}],
        ("GET", "/api/v1/identities"): [{}],
        ("GET", "/api/v1/identities/{global_id}"): [{}],
        ("GET", "/api/v1/identities/{global_id}/similar"): [{"params": {"weak": "true"}}],
        ("GET", "/api/v1/crops/{key}"): [{}],
        ("GET", "/tracklets/{tracklet_id:path}/why"): [{}],
        ("GET", "/api/v1/tracklets/{tracklet_id:path}/explanation"): [{}],
        ("GET", "/api/v1/cameras"): [{}],
        ("GET", "/api/v1/cameras/{camera_id}/snapshot.jpg"): [{}],
        ("GET", "/api/v1/me"): [{}],
        ("POST", "/logout"): [{}],
    }
    allowed = {route for route, least in RIGHTS.items() if least is Role.VIEWER}
    assert asked.keys() == allowed, "a route that viewers may call is not tried here"
    found = {}
    for (method, route), ways in asked.items():
        places = [route.replace("{global_id}", str(number)) for number in (1, 2, 3)]
        places = [place.replace("{key}", key) for place in places for key in keys]
        places = [place.replace("{tracklet_id:path}", name) for place in places for name in names]
        places = [place.replace("{camera_id}", camera) for place in places for camera in ("lobby", "yard", "gate")]
        for place in dict.fromkeys(places):
            for number, way in enumerate(ways):
                reply = client.request(method, place, headers={} if place.startswith("/api") else HTML, **way)
                assert reply.status_code < 500
                found[f"{method} {place} {number}"] = f"{reply.status_code} {reply.text}"
    return found


def test_no_answer_to_a_viewer_tells_of_another_camera(viewer: TestClient, site: SmallSite) -> None:
    answers = every_answer(viewer, site)
    unseen = keys_at(site, "yard") | keys_at(site, "gate")
    pictures = {site.blobs.get(key) for key in unseen}
    for asked, told in answers.items():
        status, _, body = told.partition(" ")
        if status == "404":  # names what was asked for, and nothing else
            continue
        assert not any(key in body for key in unseen), asked
        assert not re.search(r"\b(yard|gate)\b", body.replace("north-gate", "")), asked
        assert not re.search(r'(people/[23]"|"global_id": ?[23]\b|Person [23]\b)', body), asked
    for key in unseen:
        assert viewer.get(f"/api/v1/crops/{key}").status_code == 404
    assert not any(viewer.get(f"/api/v1/crops/{key}").content in pictures for key in unseen)


def test_the_same_questions_tell_an_investigator_of_all_cameras(deps: ApiDependencies, site: SmallSite) -> None:
    client = program(deps, "ines", Role.INVESTIGATOR)
    told = " ".join(every_answer(client, site).values())
    assert all(word in told for word in ("yard", "gate", "Person 2", *keys_at(site, "gate")))


def test_a_person_is_known_by_the_granted_stays_alone(viewer: TestClient, site: SmallSite) -> None:
    person = viewer.get("/api/v1/identities/1").json()
    assert [stay["camera_id"] for stay in person["route"]] == ["lobby"]
    assert (person["first_seen_at"], person["last_seen_at"]) == (NOW - 7200.0, NOW - 7192.0)
    assert {address.rpartition("/")[2] for address in person["crops"]} == keys_at(site, "lobby")
    assert viewer.get(person["crops"][0]).content[:2] == b"\xff\xd8"
    for number in (2, 3):
        unknown = viewer.get(f"/api/v1/identities/{number}")
        assert unknown.status_code == 404 and unknown.json() == viewer.get("/api/v1/identities/99").json() | {
            "error": unknown.json()["error"]
        }


@pytest.mark.parametrize("path", ["/api/v1/identities/{}/similar", "/?like={}"])
def test_nobody_is_searched_for_who_may_not_be_seen(viewer: TestClient, path: str) -> None:
    assert viewer.get(path.format(1)).status_code == 200
    assert [viewer.get(path.format(number)).status_code for number in (2, 3, 99)] == [404, 404, 404]


def test_a_search_compares_with_people_of_granted_cameras_alone(viewer: TestClient) -> None:
    answer = viewer.get("/api/v1/search", params={"q": "green", "weak": "true"}).json()
    assert answer["candidates"] == 1 and [person["global_id"] for person in answer["people"]] == [1]
    assert viewer.get("/api/v1/identities").json()["total"] == 1


@pytest.mark.parametrize("camera", ["yard", "gate", "nowhere"])
def test_a_camera_that_is_not_granted_is_as_unknown_as_one_that_is_not_there(viewer: TestClient, camera: str) -> None:
    reply = viewer.get("/api/v1/search", params={"q": "red", "cameras": camera})
    assert reply.status_code == 422
    assert reply.json()["error"] == {
        "found": f"camera '{camera}' is unknown",
        "expected": "one of lobby",
        "to_do": "correct the name, or leave it out to search all cameras",
    }


def test_a_viewer_without_cameras_sees_nothing(deps: ApiDependencies, site: SmallSite) -> None:
    client = program(deps, "nora", Role.VIEWER)
    assert client.get("/api/v1/identities").json() == {"total": 0, "people": []}
    assert client.get("/api/v1/search", params=RED).json()["candidates"] == 0
    assert client.get("/api/v1/cameras").json() == []
    assert client.get("/api/v1/cameras/lobby/snapshot.jpg").status_code == 404


def test_a_grant_counts_with_the_next_request(deps: ApiDependencies, viewer: TestClient) -> None:
    account = deps.accounts.account("vera")
    assert account is not None
    deps.accounts.change_account(replace(account, camera_ids=frozenset({CameraId("gate")})))
    assert [person["global_id"] for person in viewer.get("/api/v1/identities").json()["people"]] == [3]


# --- reasons ----------------------------------------------------------------------------------------------------------

BEFORE = "lobby/b1/72000/0"


def candidate(global_id: int, camera: str) -> CandidateEvidence:
    return CandidateEvidence(
        global_id=global_id, camera_id=camera, similarity=0.4, appearance_log_odds=-1.0, gap_s=9.0, probability=0.2
    )


def decide(site: SmallSite, camera: str, track_id: int, reason: str, candidates: tuple[CandidateEvidence, ...]) -> str:
    """One more tracklet of person 1, and why it is hers."""
    seen = embedding(camera, track_id=track_id)
    evidence = Evidence(calibration=0, candidates=candidates, new_probability=0.1, threshold=0.5)
    site.store.commit_decisions([Decision(seen, GlobalId(1), False, 0.9, reason, evidence=evidence)], NOW)
    return seen.tracklet_id


def explanation(client: TestClient, tracklet_id: str) -> dict[str, Any]:
    told: dict[str, Any] = client.get(f"/api/v1/tracklets/{tracklet_id}/explanation").json()
    return told


def test_reasons_that_tell_of_granted_cameras_alone_are_told_whole(
    deps: ApiDependencies, viewer: TestClient, site: SmallSite
) -> None:
    reason = "person 1 seen in lobby, 0.90 alike (log-odds +3.0), 9 s later (+1.0): 90% sure"
    name = decide(site, "lobby", 901, reason, (candidate(1, "lobby"),))
    told = explanation(viewer, name)
    assert told["decision"]["reason"] == reason and not told["is_cut"]
    assert told == explanation(program(deps, "ines", Role.INVESTIGATOR), name)


@pytest.mark.parametrize(
    "reason",
    [
        "person 1 seen in yard, 0.90 alike (log-odds +3.0), 9 s later (+1.0): 90% sure",
        "new: closest is person 2 seen in yard, 0.10 alike, who is elsewhere in this camera at the same time",
        "correction 7 by anna: the brother of person 2 at the yard",
    ],
)
def test_of_other_cameras_reasons_say_only_that_something_was_left_out(
    viewer: TestClient, site: SmallSite, reason: str
) -> None:
    name = decide(site, "lobby", 902, reason, (candidate(1, "lobby"), candidate(2, "yard"), candidate(3, "gate")))
    told = explanation(viewer, name)
    assert told["is_cut"] and [each["global_id"] for each in told["decision"]["evidence"]["candidates"]] == [1]
    page = viewer.get(f"/tracklets/{name}/why", headers=HTML).text
    for text in (json.dumps(told), page):
        assert "may not see" in text
        assert not re.search(r"\b(yard|gate|anna|person [23]|Candidate [23])\b", text)


def test_a_law_is_left_out(deps: ApiDependencies, viewer: TestClient, site: SmallSite) -> None:
    other = next(name for stay in stays_of(site) if stay.camera_id == "gate" for name in stay.tracklet_ids)
    names = TrackletId(BEFORE), TrackletId(other)
    request = CorrectionRequest(CorrectionKind.NOT_SAME, "anna", "her sister", tracklet_ids=names)
    site.store.add_correction(request, NOW)
    site.store.commit_decisions((), NOW, (), Applied(1, "stay two", names[:1], names[1:]))
    assert explanation(program(deps, "ines", Role.INVESTIGATOR), BEFORE)["corrections"] == [1]
    told = explanation(viewer, BEFORE)
    assert told["corrections"] == [] and told["is_cut"] and "anna" not in json.dumps(told)


def test_a_tracklet_of_another_camera_is_as_unknown_as_one_that_is_not_there(
    viewer: TestClient, site: SmallSite
) -> None:
    hidden = next(name for stay in stays_of(site) if stay.camera_id == "yard" for name in stay.tracklet_ids)
    for path in ("/api/v1/tracklets/{}/explanation", "/tracklets/{}/why"):
        seen, unknown = (viewer.get(path.format(name)) for name in (hidden, "yard/b1/99/9"))
        assert seen.status_code == unknown.status_code == 404
        assert seen.text.replace(hidden, "") == unknown.text.replace("yard/b1/99/9", "")
