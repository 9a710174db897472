"""Asking on the page: filters by clicking, one address for the whole question, and what people say of the answers."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from pipeline.accounts import Role
from services.api.dependencies import ApiDependencies
from tests.fakes import jpeg, painted
from tests.services.api.people import HTML, add_account, form_mark, logged_in, program
from tests.small_site import COLOURS, SmallSite


@pytest.fixture
def page(client: TestClient) -> TestClient:
    client.headers.update(HTML)
    return client


def pressed(text: str) -> list[str]:
    """The buttons that are down."""
    return re.findall(r'aria-pressed="true"[^>]*>([^<]+)<', text)


@pytest.mark.parametrize(
    ("when", "address", "label"),
    [
        ("any", "/?q=red&cameras=lobby", "Any time"),
        ("1h", "/?q=red&cameras=lobby&since=1h", "Last hour"),
        ("yesterday", "/?q=red&cameras=lobby&since=yesterday&until=today", "Yesterday"),
    ],
)
def test_a_click_on_a_time_keeps_the_question_and_stays_down(
    page: TestClient, when: str, address: str, label: str
) -> None:
    reply = page.post("/", data={"q": "red", "cameras": "lobby", "since": "3h", "when": when})
    assert (reply.status_code, reply.headers["location"]) == (303, address)
    assert pressed(page.get(address).text) == [label]


def test_a_time_of_ones_own_is_shown_with_no_button_down(page: TestClient) -> None:
    text = page.get("/", params={"q": "red", "since": "3h"}).text
    assert pressed(text) == [] and '<details class="more" open>' in text


def test_cameras_and_time_alone_show_everybody_inside_them_last_seen_first(page: TestClient) -> None:
    text = page.get("/", params={"cameras": ["yard", "lobby"], "since": "1d"}).text
    assert "2 people, last seen first." in text and "compared" not in text
    assert text.index("Person 2") < text.index("Person 1") and "Person 3" not in text


def test_more_like_a_person_is_an_address_with_filters_of_its_own(page: TestClient) -> None:
    text = page.get("/", params={"like": 1, "weak": "true", "cameras": "yard"}).text
    assert 'People like <a href="/people/1">person 1</a>' in text
    assert "Person 2" in text and "Person 3" not in text
    assert page.post("/", data={"q": "", "like": "1", "when": "1h"}).headers["location"] == "/?like=1&since=1h"
    assert page.post("/", data={"q": "red", "like": "1"}).headers["location"] == "/?q=red"


def test_a_card_leads_to_more_like_it_with_the_reason_that_was_given(page: TestClient) -> None:
    assert 'href="/?like=1&amp;reason=lost+child"' in page.get("/", params={"q": "red", "reason": "lost child"}).text


def test_the_first_page_shows_a_crop_of_each_camera_and_all_crops_to_play(page: TestClient, site: SmallSite) -> None:
    card = page.get("/").text.partition('id="person-1"')[2].partition("</article>")[0]
    assert re.findall(r'class="at">([^<]+)<', card) == ["lobby", "yard"]
    keys = [key for stay in site.search.person(1).route for key in stay.crop_keys]  # type: ignore[arg-type]
    assert all(f'data-crops="/api/v1/crops/{key} ' in card for key in keys)


def test_a_question_that_was_half_understood_gives_no_plain_confidence(page: TestClient) -> None:
    text = page.get("/", params={"q": "red zeppelin", "weak": "true"}).text
    assert "as far as understood" in text and "very likely" not in text


def test_the_name_of_a_picture_never_becomes_markup(page: TestClient) -> None:
    picture = {"picture": ("<img src=x>.jpg", jpeg(painted(COLOURS["blue"])), "image/jpeg")}
    text = page.post("/", files=picture).text
    assert "<img src=x>" not in text and "&lt;img src=x&gt;" in text


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_a_verdict_is_kept_and_shown_where_it_was_given(page: TestClient, site: SmallSite) -> None:
    form = {"q": "red coat", "cameras": "lobby", "global_id": 1, "is_right": "true"}
    reply = page.post("/verdicts", data=form)
    assert (reply.status_code, reply.headers["location"]) == (303, "/?q=red+coat&cameras=lobby#person-1")
    text = page.get(reply.headers["location"]).text
    assert "Right" in pressed(text) and "Wrong" not in pressed(text)
    page.post("/verdicts", data=form | {"is_right": "false"})
    assert pressed(page.get("/?q=red++coat&cameras=lobby").text)[-1] == "Wrong"
    assert [button for button in pressed(page.get("/?q=red&weak=true").text) if button in ("Right", "Wrong")] == []


def test_nobody_is_asked_whether_a_place_or_a_time_fits(page: TestClient) -> None:
    text = page.get("/", params={"q": "at the yard in the last day"}).text
    assert "2 people, last seen first." in text and 'action="/verdicts"' not in text


def test_only_who_may_judge_is_asked_for_verdicts(deps: ApiDependencies) -> None:
    viewer = program(deps, "vera", Role.VIEWER, ["lobby"])
    assert 'action="/verdicts"' not in viewer.get("/?q=red", headers=HTML).text
    assert 'action="/verdicts"' in program(deps, "ines", Role.INVESTIGATOR).get("/?q=red", headers=HTML).text


def test_forms_of_a_session_carry_its_mark(deps: ApiDependencies) -> None:
    add_account(deps, "ines", Role.INVESTIGATOR)
    client = logged_in(deps, "ines")
    form = {"q": "red", "global_id": 1, "is_right": "true"}
    assert client.post("/verdicts", data=form).status_code == 403
    assert client.post("/verdicts", data=form | {"csrf": form_mark(client)}).status_code == 303
    for address in ("/", "/?q=red", "/people/1"):
        text = client.get(address, headers=HTML).text
        assert text.count("<form") - text.count('method="get"') == text.count('name="csrf"'), address


def test_what_is_not_allowed_is_not_offered(deps: ApiDependencies) -> None:
    asked = "/?q=red+%26+blue&cameras=lobby"
    viewer = program(deps, "vera", Role.VIEWER, ["lobby"]).get(asked, headers=HTML).text
    assert "Watch for this" not in viewer and 'href="/alerts"' not in viewer
    told = program(deps, "ines", Role.INVESTIGATOR).get(asked, headers=HTML).text
    assert 'href="/alerts/new?q=red%20%26%20blue&amp;cameras=lobby"' in told and 'href="/alerts"' in told
    assert 'href="/operations"' not in told
