"""The page as HTML: what is shown, and that nothing from outside becomes markup."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from pipeline.contracts import CameraState
from tests.fakes import jpeg, painted
from tests.small_site import COLOURS, SmallSite, camera_status

TRACKLET = "lobby/b1/72000/0"
HTML = {"Accept": "text/html,application/xhtml+xml"}
PAGES = (
    "/",
    "/?q=red&weak=true",
    "/?like=1",
    "/people",
    "/people/1",
    "/people/1/report",
    f"/tracklets/{TRACKLET}/why",
    "/corrections",
    "/corrections/1",
    "/cameras",
    "/login",
    "/people/99",
)
HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture
def page(client: TestClient) -> TestClient:
    client.headers.update(HTML)
    return client


def links(text: str) -> list[str]:
    return re.findall(r'href="([^"]+)"', text)


def test_the_first_page_offers_examples_cameras_and_who_was_seen_last(page: TestClient) -> None:
    text = page.get("/").text
    assert "woman in a red coat" in text
    assert "connection refused" in text and "2 people in view" in text
    assert next(link for link in links(text) if link.startswith("/people/")) == "/people/3"


def test_the_first_page_is_small(page: TestClient) -> None:
    files = ["/", *re.findall(r'(?:href|src)="(/static/[^"]+)"', page.get("/").text)]
    assert len(files) > 4
    assert sum(len(page.get(file).content) for file in files) <= 150_000


def test_everything_a_page_refers_to_exists(page: TestClient) -> None:
    for start in ("/", "/?q=red", "/people", "/people/1", "/?like=1", "/people/1/report", "/corrections", "/cameras"):
        text = page.get(start).text
        for address in {*links(text), *re.findall(r'src="([^"]+)"', text)} - {"#main", "#correct"}:
            expected = 404 if address.startswith("/api/v1/cameras/yard/") else 200
            assert page.get(address.replace("&amp;", "&")).status_code == expected, (start, address)


def test_an_answer_shows_cards_with_confidence_and_route(page: TestClient) -> None:
    text = page.get("/", params={"q": "red coat"}).text
    assert "1 match, 3 people compared" in text
    assert "very likely" in text and "/people/1" in text and "lobby" in text


def test_what_a_question_narrows_is_shown_and_can_be_taken_away(page: TestClient) -> None:
    text = page.get("/", params={"q": "red coat in the yard, no hat"}).text
    assert "camera yard" in text and "without hat" in text
    assert "/?q=red+coat%2C+no+hat" in links(text)


def test_no_confident_match_is_said_plainly_with_a_way_to_the_closest(page: TestClient) -> None:
    text = page.get("/", params={"q": "white coat"}).text
    assert "No confident match" in text and "/people/1" not in text
    weak = next(link for link in links(text) if "weak" in link).replace("&amp;", "&")
    closest = page.get(weak).text
    assert "unlikely" in closest and "/people/1" in closest and "Show the closest" not in closest


def test_unknown_words_are_named_on_the_page(page: TestClient) -> None:
    assert "does not know “zeppelin”" in page.get("/", params={"q": "red zeppelin"}).text


@pytest.mark.parametrize("field", ["q", "since", "until", "cameras"])
def test_what_somebody_types_never_becomes_markup(page: TestClient, field: str) -> None:
    text = page.get("/", params={"q": "red"} | {field: HOSTILE}).text
    assert "<script>alert" not in text
    assert "\"'&" not in text


def test_what_a_camera_reports_never_becomes_markup(page: TestClient, site: SmallSite) -> None:
    site.board.report(camera_status("yard", CameraState.DOWN, last_error=HOSTILE), None)
    text = page.get("/").text
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text


def test_the_page_has_no_inline_script_or_style(page: TestClient) -> None:
    page.post("/api/v1/corrections", json={"kind": "merge", "global_ids": [1, 2]})
    for address in PAGES:
        text = page.get(address).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|<style|\son\w+=|javascript:", text), address


def test_an_unreadable_time_is_explained_beside_the_kept_question(page: TestClient) -> None:
    reply = page.get("/", params={"q": "red coat", "since": "teatime"})
    assert reply.status_code == 422
    assert "teatime" in reply.text and "14:00" in reply.text and 'value="red coat"' in reply.text


def test_the_form_leads_to_an_address_that_can_be_kept(page: TestClient) -> None:
    form = {"q": "red coat", "cameras": ["lobby", "yard"], "since": "", "until": ""}
    reply = page.post("/", data=form, files={"picture": ("", b"", "application/octet-stream")})
    assert reply.status_code == 303
    assert reply.headers["location"] == "/?q=red+coat&cameras=lobby&cameras=yard"
    assert "1 match" in page.get(reply.headers["location"]).text


def test_a_picture_in_the_form_is_answered(page: TestClient) -> None:
    reply = page.post("/", data={"q": ""}, files={"picture": ("shot.jpg", jpeg(painted(COLOURS["blue"])))})
    assert "the picture shot.jpg" in reply.text and "/people/2" in reply.text
    broken = page.post("/", files={"picture": ("shot.jpg", b"nothing")})
    assert broken.status_code == 422 and "not a readable picture" in broken.text


def test_a_person_page_shows_every_sighting(page: TestClient) -> None:
    text = page.get("/people/1").text
    assert "Seen 2 times at 2 cameras" in " ".join(text.split())
    assert text.count('class="strip"') == 2 and "59 min later" in text


@pytest.mark.parametrize(
    ("address", "status"), [("/people/99", 404), ("/nothing", 404), ("/people/x", 422), ("/people?page=0", 422)]
)
def test_what_does_not_exist_is_told_on_a_page(page: TestClient, address: str, status: int) -> None:
    reply = page.get(address)
    assert reply.status_code == status
    assert "That did not work" in reply.text and "What to do" in reply.text


def test_the_list_of_people_has_pages(page: TestClient) -> None:
    assert "3 in all" in page.get("/people").text
    assert page.get("/people?page=7").status_code == 200
