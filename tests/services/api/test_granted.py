"""A viewer sees what the granted cameras saw, on every route, and nothing of the others."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from pipeline.accounts import Role
from pipeline.contracts import CameraId, GlobalId
from services.api.dependencies import ApiDependencies
from services.api.rights import RIGHTS
from tests.fakes import jpeg, painted
from tests.services.api.people import HTML, program
from tests.small_site import COLOURS, NOW, SmallSite

# Person 1 was seen at lobby and yard, person 2 at yard alone, person 3 at gate alone.
RED = {"q": "red coat", "weak": "true"}


@pytest.fixture
def viewer(deps: ApiDependencies) -> TestClient:
    """Somebody who may see the lobby alone."""
    return program(deps, "vera", Role.VIEWER, ["lobby"])


def keys_at(site: SmallSite, camera: str) -> set[str]:
    routes = site.store.routes([GlobalId(number) for number in (1, 2, 3)]).values()
    return {key for route in routes for stay in route if stay.camera_id == camera for key in stay.crop_keys}


def every_answer(client: TestClient, site: SmallSite) -> dict[str, str]:
    """What every route that a viewer may call says when it is asked for everything there is."""
    picture = {"picture": ("a.jpg", jpeg(painted(COLOURS["blue"])), "image/jpeg")}
    keys = [key for camera in ("lobby", "yard", "gate") for key in keys_at(site, camera)]
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
