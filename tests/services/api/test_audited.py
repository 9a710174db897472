"""What people do with other people's pictures is recorded before it is answered."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

import pytest
from fastapi.testclient import TestClient

from pipeline.accounts import Role
from pipeline.adapters.audit_store import AuditStore
from pipeline.audit import AuditAction, AuditEntry, verified
from pipeline.contracts import GlobalId
from pipeline.errors import Unavailable
from services.api.app import create_app
from services.api.crop_views import SHOWN_S
from services.api.dependencies import ApiDependencies
from tests.fakes import HandClock, jpeg, painted
from tests.services.api.people import HTML, program
from tests.small_site import COLOURS

TRACKLET = "lobby/b1/72000/0"
PICTURE = {"picture": ("a.jpg", jpeg(painted(COLOURS["blue"])), "image/jpeg")}


@pytest.fixture
def ines(deps: ApiDependencies) -> TestClient:
    return program(deps, "ines", Role.INVESTIGATOR)


def newest(deps: ApiDependencies) -> AuditEntry:
    assert isinstance(deps.audit, AuditStore)
    return deps.audit.newest(1)[0]


@pytest.mark.parametrize(
    ("method", "path", "options", "action", "subject"),
    [
        ("GET", "/api/v1/search", {"params": {"q": "red\x00coat"}}, "search", "red coat"),
        ("POST", "/api/v1/search", {"json": {"q": "red coat"}}, "search", "red coat"),
        ("GET", "/", {"params": {"q": "red coat"}}, "search", "red coat"),
        ("POST", "/api/v1/search/image", {"files": PICTURE}, "search", "a picture of"),
        ("POST", "/", {"files": PICTURE}, "search", "a picture of"),
        ("GET", "/api/v1/identities/1/similar", {}, "search", "person 1"),
        ("GET", "/", {"params": {"like": 1}}, "search", "person 1"),
        ("GET", "/", {"params": {"cameras": "lobby"}}, "view", "the list of people"),
        ("GET", "/people/1/report", {}, "export", "person 1"),
        ("GET", f"/tracklets/{TRACKLET}/why", {}, "view", "a tracklet of person 1"),
        ("GET", "/api/v1/identities/1", {}, "view", "person 1"),
        ("GET", "/people/1", {}, "view", "person 1"),
        ("GET", "/api/v1/identities", {}, "view", "the list of people"),
        ("GET", "/people", {}, "view", "the list of people"),
        ("GET", "/", {}, "view", "the list of people"),
        ("GET", f"/api/v1/tracklets/{TRACKLET}/explanation", {}, "view", "a tracklet of person 1"),
        ("POST", "/api/v1/standing-queries", {"json": {"question": "blue coat"}}, "alert", "blue coat"),
        ("GET", "/api/v1/alerts", {}, "view", "the list of alerts"),
        ("GET", "/api/v1/alerts/feed", {"params": {"for_s": 0}}, "view", "the feed of alerts"),
        ("GET", "/api/v1/identities/1/look", {}, "export", "the look of person 1"),
        ("POST", "/api/v1/identities/1/export", {"json": {"made_by": "bo"}}, "export", "person 1"),
        (
            "POST",
            "/api/v1/corrections",
            {"json": {"kind": "merge", "global_ids": [1, 2], "made_by": "bo"}},
            "correction",
            "merge",
        ),
    ],
)
def test_every_search_view_export_and_correction_is_recorded(
    deps: ApiDependencies,
    ines: TestClient,
    method: str,
    path: str,
    options: dict[str, object],
    action: str,
    subject: str,
) -> None:
    assert ines.request(method, path, **options).status_code in (200, 201, 202)  # type: ignore[arg-type]
    entry = newest(deps)
    assert (entry.actor, entry.action) == ("ines", action) and entry.subject.startswith(subject)
    assert isinstance(deps.audit, AuditStore)
    assert verified(deps.audit.entries()) == entry.head


def test_a_search_is_recorded_with_its_filters_and_its_reason(deps: ApiDependencies, ines: TestClient) -> None:
    ines.get("/api/v1/search", params={"q": "red", "cameras": "lobby", "since": "2h", "reason": "lost\nchild"})
    assert json.loads(newest(deps).detail) == {
        "kind": "text",
        "reason": "lost child",
        "cameras": ["lobby"],
        "since": "2h",
    }


@pytest.mark.parametrize("path", ["/api/v1/corrections", "/api/v1/corrections/1/undo"])
def test_nobody_who_is_logged_in_corrects_in_the_name_of_somebody_else(
    deps: ApiDependencies, ines: TestClient, path: str
) -> None:
    ines.post("/api/v1/corrections", json={"kind": "merge", "global_ids": [1, 2]})
    body = {"made_by": "bo"} if path.endswith("undo") else {"kind": "merge", "global_ids": [2, 3], "made_by": "bo"}
    assert ines.post(path, json=body).json()["made_by"] == "ines"
    assert [correction.request.made_by for correction in deps.corrections.corrections(9)] == ["ines", "ines"]


@pytest.mark.parametrize("params", [{"cameras": "x" * 65}, {"cameras": "nowhere"}, {"since": "once"}, {"q": " "}])
def test_what_cannot_be_asked_fills_no_log_beyond_its_words(
    deps: ApiDependencies, ines: TestClient, params: dict[str, str]
) -> None:
    assert ines.get("/api/v1/search", params={"q": "red"} | params).status_code == 422
    assert ines.get("/", params={"q": "red"} | params).status_code in (200, 422)
    assert isinstance(deps.audit, AuditStore)
    recorded = [entry.detail for entry in deps.audit.entries() if entry.action == "search"]
    assert not any("nowhere" in detail or "once" in detail or "xx" in detail for detail in recorded)


def test_a_question_to_other_sites_is_recorded(deps: ApiDependencies, ines: TestClient) -> None:
    ines.get("/api/v1/identities/1/elsewhere", params={"reason": "lost child"})
    assert isinstance(deps.audit, AuditStore)
    asked = [entry for entry in deps.audit.entries() if entry.action == "search"]
    assert [(entry.subject, json.loads(entry.detail)["kind"]) for entry in asked] == [("person 1", "elsewhere")]


@pytest.mark.parametrize("is_rehearsal", [True, False])
def test_an_erasure_is_recorded_by_its_admin_and_so_is_its_rehearsal(deps: ApiDependencies, is_rehearsal: bool) -> None:
    root = program(deps, "root", Role.ADMIN)
    asked = {"global_id": 1, "made_by": "bo", "why": "file 7", "dry_run": is_rehearsal}
    assert root.post("/api/v1/erasures", json=asked).status_code == 202
    entry = newest(deps)
    assert (entry.actor, entry.action, entry.subject) == ("root", "erasure", "person 1")
    assert json.loads(entry.detail) == {"made_by": "root", "why": "file 7", "dry_run": is_rehearsal}


def test_an_erasure_of_nobody_fills_no_log(deps: ApiDependencies) -> None:
    root = program(deps, "root", Role.ADMIN)
    assert root.post("/api/v1/erasures", json={"global_id": 99, "why": "file 7"}).status_code == 422
    assert isinstance(deps.audit, AuditStore)
    assert [entry for entry in deps.audit.entries() if entry.action == "erasure"] == []


def test_the_log_knows_people_by_their_numbers_alone(deps: ApiDependencies, ines: TestClient) -> None:
    said = {"kind": "split", "global_ids": [1], "tracklet_ids": [TRACKLET], "note": "this is Karl"}
    assert ines.post("/api/v1/corrections", json=said).status_code == 202
    assert ines.get(f"/api/v1/tracklets/{TRACKLET}/explanation").status_code == 200
    verdict = {"q": "red coat", "global_id": 1, "is_right": True}
    assert ines.post("/api/v1/search/verdicts", json=verdict).status_code == 200
    assert isinstance(deps.audit, AuditStore)
    told = [entry.line() for entry in deps.audit.entries()]
    assert len(told) == 3 and not any(word in line for line in told for word in (TRACKLET, "lobby", "Karl", "red coat"))


class FullLog:
    """An audit log whose disk is full."""

    def record(
        self, actor: str, action: AuditAction, subject: str, detail: Mapping[str, object] | None = None
    ) -> AuditEntry:
        raise Unavailable("the database does not answer: no space left on device")


@pytest.mark.parametrize(
    "path", ["/api/v1/search?q=red", "/people/1", "/api/v1/identities", "/api/v1/identities/1/similar", "/"]
)
def test_what_cannot_be_recorded_is_not_answered(deps: ApiDependencies, path: str) -> None:
    client = TestClient(create_app(dataclasses.replace(deps, audit=FullLog())), base_url="http://localhost")
    reply = client.get(path)
    assert reply.status_code == 503 and "route" not in reply.text


def test_what_cannot_be_recorded_is_not_corrected(deps: ApiDependencies) -> None:
    client = TestClient(create_app(dataclasses.replace(deps, audit=FullLog())), base_url="http://localhost")
    sent = client.post("/api/v1/corrections", json={"kind": "merge", "global_ids": [1, 2], "made_by": "bo"})
    assert sent.status_code == 503 and deps.corrections.corrections(1) == []


def test_what_cannot_be_recorded_is_neither_erased_nor_exported(deps: ApiDependencies) -> None:
    client = TestClient(create_app(dataclasses.replace(deps, audit=FullLog())), base_url="http://localhost")
    assert client.post("/api/v1/erasures", json={"global_id": 1, "why": "file 7"}).status_code == 503
    assert deps.forgetting.receipts(1) == []
    reply = client.post("/api/v1/identities/1/export", json={})
    assert reply.status_code == 503 and b"PK" not in reply.content


# --- single crops -----------------------------------------------------------------------------------------------------


def crop_entries(deps: ApiDependencies) -> list[tuple[str, str]]:
    assert isinstance(deps.audit, AuditStore)
    return [(entry.actor, entry.subject) for entry in deps.audit.entries() if entry.detail == '{"as":"crop"}']


def crops_of(deps: ApiDependencies, global_id: int) -> list[str]:
    return [f"/api/v1/crops/{key}" for key in deps.search.person(GlobalId(global_id)).crop_keys]


@pytest.mark.parametrize("way", ["/people/1", "/api/v1/identities/1", "/?q=red+coat", "/people", "/people/1/report"])
def test_crops_of_a_recorded_answer_need_no_entry_of_their_own(
    deps: ApiDependencies, ines: TestClient, way: str
) -> None:
    assert ines.get(way).status_code == 200
    assert [ines.get(crop).status_code for crop in crops_of(deps, 1)] == [200] * len(crops_of(deps, 1))
    assert crop_entries(deps) == []


def test_a_crop_that_no_answer_led_to_is_a_view_of_its_person_once_within_minutes(
    deps: ApiDependencies, ines: TestClient
) -> None:
    ines.get("/people/1")
    for _ in range(3):
        for person in (1, 2):
            assert all(ines.get(crop).status_code == 200 for crop in crops_of(deps, person))
    assert crop_entries(deps) == [("ines", "person 2")]
    bo = program(deps, "bo", Role.INVESTIGATOR)  # was shown nobody
    bo.get(crops_of(deps, 1)[0])
    assert crop_entries(deps)[1:] == [("bo", "person 1")]
    assert isinstance(deps.clock, HandClock)
    deps.clock.sleep(SHOWN_S + 1.0)
    ines.get(crops_of(deps, 2)[0])
    assert crop_entries(deps)[2:] == [("ines", "person 2")]


def test_a_crop_that_cannot_be_recorded_is_not_shown(deps: ApiDependencies) -> None:
    client = TestClient(create_app(dataclasses.replace(deps, audit=FullLog())), base_url="http://localhost")
    assert client.get(crops_of(deps, 1)[0]).status_code == 503


# --- reasons ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def strict(deps: ApiDependencies) -> TestClient:
    app = create_app(dataclasses.replace(deps, needs_reason=True))
    return TestClient(app, base_url="http://localhost", follow_redirects=False)


@pytest.mark.parametrize("reason", [{}, {"reason": " "}, {"reason": "\n"}])
@pytest.mark.parametrize(
    "path", ["/api/v1/search?q=red", "/api/v1/identities/1/similar", "/api/v1/identities/1/elsewhere", "/?q=red"]
)
def test_where_reasons_are_wanted_no_search_is_answered_without(
    deps: ApiDependencies, strict: TestClient, path: str, reason: dict[str, str]
) -> None:
    reply = strict.get(path, params=reason | ({"q": "red"} if "q=" in path else {}))
    assert reply.status_code == 422 and "reason" in reply.text
    assert isinstance(deps.audit, AuditStore)
    assert not [entry for entry in deps.audit.entries() if entry.action == "search"]


def test_the_page_asks_for_the_reason_and_keeps_it_in_the_address(strict: TestClient) -> None:
    assert 'name="reason"' in strict.get("/", headers=HTML).text
    sent = strict.post("/", data={"q": "red", "reason": "lost child"})
    assert sent.headers["location"] == "/?q=red&reason=lost+child"
    assert "Person 1" in strict.get(sent.headers["location"]).text
    assert 'name="reason"' in strict.get("/people/1").text
    assert "lost child" in strict.get("/?like=1&reason=lost+child").text


def test_without_the_setting_nobody_is_asked_for_a_reason(client: TestClient) -> None:
    assert 'name="reason"' not in client.get("/", headers=HTML).text + client.get("/people/1", headers=HTML).text
