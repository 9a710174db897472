"""The pages of a person and of corrections, as HTML."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from pipeline.accounts import Role
from pipeline.contracts import GlobalId
from pipeline.decisions import CorrectionKind
from pipeline.matching.corrector import apply_corrections
from services.api.dependencies import ApiDependencies
from tests.fakes import HandClock, jpeg
from tests.services.api.people import HTML, program
from tests.small_site import NOW, SmallSite

HOSTILE = "<script>alert(1)</script>"
LOBBY, YARD = "lobby/b1/72000/0", "yard/b1/36000/0"  # of person 1


@pytest.fixture
def page(client: TestClient) -> TestClient:
    client.headers.update(HTML)
    return client


def let_matcher_work(site: SmallSite) -> None:
    apply_corrections(site.store, HandClock(NOW + 2))


def test_a_person_is_drawn_on_the_time_and_from_camera_to_camera(page: TestClient) -> None:
    text = page.get("/people/1").text
    assert "Ways: lobby to yard, 59 min" in text and "1. lobby" in text and "2. yard" in text
    assert re.findall(r'class="place">([^<]+)</span>', text) == ["lobby", "yard"]


def test_a_long_route_shows_its_end_first(page: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.api.person_pages._NEWEST_SIGHTINGS", 1)
    text = page.get("/people/1").text
    assert 'id="stay-2"' in text and 'id="stay-1"' not in text and "Show the 1 earlier" in text
    assert 'id="stay-1"' in page.get("/people/1?whole=true").text


def test_a_sighting_is_split_off_and_the_split_taken_back(page: TestClient, site: SmallSite) -> None:
    reply = page.post("/people/1/corrections", data={"kind": "split", "chosen": [YARD], "note": HOSTILE})
    assert (reply.status_code, reply.headers["location"]) == (303, "/corrections/1")
    waiting = page.get("/corrections/1").text
    assert "not applied it yet" in waiting and HOSTILE not in waiting
    let_matcher_work(site)
    told = page.get("/corrections/1").text
    assert "1 tracklet went from person 1 to the new person 4" in told and "after 2 s" in told
    assert 'href="/people/1"' in told and 'href="/people/4"' in told and HOSTILE not in told
    assert "Correction 1" in page.get("/people/1").text and HOSTILE not in page.get("/people/1").text
    undone = page.post("/corrections/1/undo", data={})
    assert undone.headers["location"] == "/corrections/2"
    let_matcher_work(site)
    assert "1 tracklet went back" in page.get("/corrections/2").text
    assert "Undone by correction 2" in page.get("/corrections/1").text
    assert HOSTILE not in page.get("/corrections").text


def test_another_person_is_the_same_or_is_not(page: TestClient, site: SmallSite) -> None:
    page.post("/people/1/corrections", data={"kind": "not_person", "other": "3"})
    page.post("/people/1/corrections", data={"kind": "merge", "other": "2"})
    let_matcher_work(site)
    first, second = (site.store.correction(number) for number in (1, 2))
    assert first is not None and second is not None
    assert first.outcome == "persons 1 and 3 stay two people"
    assert (second.request.kind, second.request.global_ids) == (CorrectionKind.MERGE, (1, 2))
    assert page.get("/people/2").headers["location"] == "/people/1"
    assert "Seen 3 times" in page.get("/people/1").text


def test_two_sightings_can_be_two_people(page: TestClient, site: SmallSite) -> None:
    page.post("/people/1/corrections", data={"kind": "not_same", "chosen": [LOBBY, YARD]})
    let_matcher_work(site)
    assert [stay.camera_id for stay in site.search.person(GlobalId(4)).route] == ["yard"]


@pytest.mark.parametrize(
    ("form", "status", "found"),
    [
        ({"kind": "split"}, 422, "0 different tracklets"),
        ({"kind": "not_same", "chosen": [LOBBY]}, 422, "1 chosen sightings"),
        ({"kind": "merge"}, 422, "no number"),
        ({"kind": "merge", "other": "1"}, 422, "1 different persons"),
        ({"kind": "merge", "other": "99"}, 422, "there is no person 99"),
        ({"kind": "not_person", "other": "99"}, 404, "there is no person 99"),
        ({"kind": "same", "other": "2"}, 422, "kind"),
        ({"kind": "split", "chosen": [LOBBY], "note": "x" * 201}, 422, "note"),
    ],
)
def test_a_mistake_is_told_and_nothing_kept(
    page: TestClient, site: SmallSite, form: dict[str, str], status: int, found: str
) -> None:
    reply = page.post("/people/1/corrections", data=form)
    assert reply.status_code == status and found in reply.text and "What to do" in reply.text
    assert site.store.corrections(9) == []


def test_a_page_lists_the_corrections_that_are_about_its_person(page: TestClient, site: SmallSite) -> None:
    page.post("/people/1/corrections", data={"kind": "not_same", "chosen": [LOBBY, YARD]})
    page.post("/people/2/corrections", data={"kind": "merge", "other": "3"})
    page.post("/corrections/1/undo", data={})
    assert re.findall(r">Correction (\d)<", page.get("/people/1").text) == ["3", "1"]
    assert re.findall(r">Correction (\d)<", page.get("/people/3").text) == ["2"]


def test_why_is_told_in_sentences(page: TestClient) -> None:
    text = page.get(f"/tracklets/{LOBBY}/why").text
    assert "Why this is person 1" in text and "it was taken for person 1" in text and f"explain {LOBBY}" in text
    assert f'data-why="/tracklets/{LOBBY}/why"' in page.get("/people/1").text
    assert page.get("/tracklets/lobby/b1/1/0/why").status_code == 404


def test_a_viewer_sees_the_route_with_its_reasons_and_none_of_what_tells_of_others(deps: ApiDependencies) -> None:
    text = program(deps, "vera", Role.VIEWER, ["lobby"]).get("/people/1", headers=HTML).text
    assert "lobby" in text and "Why person 1?" in text
    assert not re.search("Put right|Report|Somebody else|corrections", text)


def test_erasing_is_offered_to_whom_it_is_allowed(deps: ApiDependencies) -> None:
    for name, role, is_offered in (("ines", Role.INVESTIGATOR, False), ("root", Role.ADMIN, True)):
        text = program(deps, name, role).get("/people/1", headers=HTML).text
        assert ('action="/people/1/erase"' in text) is is_offered, role


# --- the report -------------------------------------------------------------------------------------------------------


def test_a_report_says_who_made_it_and_when_and_blurs_heads(deps: ApiDependencies) -> None:
    client = program(deps, "ines", Role.INVESTIGATOR)
    text = client.get("/people/1/report", headers=HTML).text
    assert "ines" in text and "2026-05-28 20:26:40" in text and "2026-05-28 18:26:40" in text and "blurred" in text
    pictures = re.findall(r'<img src="(/api/v1/crops/[^"]+)"', text)
    assert len(pictures) == 2 and all(address.endswith("?with_head=false") for address in pictures)
    assert "with_head=false" not in client.get("/people/1/report?with_heads=true", headers=HTML).text


def test_a_crop_without_its_head_has_no_detail_there_and_is_as_it_was_below(
    client: TestClient, site: SmallSite
) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (30, 12, 3), np.uint8)
    key = site.blobs.put(jpeg(cv2.resize(noise, (48, 120), interpolation=cv2.INTER_NEAREST)))
    whole, headless = (
        cv2.imdecode(np.frombuffer(client.get(f"/api/v1/crops/{key}{asked}").content, np.uint8), cv2.IMREAD_COLOR)
        for asked in ("", "?with_head=false")
    )
    assert detail(headless[:20]) < 0.25 * detail(whole[:20])
    assert np.abs(headless[40:].astype(float) - whole[40:]).mean() < 12


def detail(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> float:
    """How much neighbouring rows differ."""
    return float(np.abs(np.diff(picture.astype(float), axis=0)).mean())


def test_what_cannot_be_concealed_is_not_shown(client: TestClient, site: SmallSite) -> None:
    key = site.blobs.put(b"nothing")
    assert client.get(f"/api/v1/crops/{key}").status_code == 200
    assert client.get(f"/api/v1/crops/{key}?with_head=false").status_code == 404
