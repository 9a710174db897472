"""The pages of alerts: from a question over its back-test to what is raised and judged."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from pipeline.accounts import Role
from services.api.dependencies import ApiDependencies
from tests.services.api.people import HTML, add_account, form_mark, logged_in
from tests.services.api.test_alert_routes import passes, watch
from tests.small_site import SmallSite

FORM = {"q": "red coat", "window_s": "3600", "daily_budget": "24"}
HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture
def page(client: TestClient) -> TestClient:
    client.headers.update(HTML)
    return client


@pytest.fixture
def alerted(page: TestClient, site: SmallSite) -> TestClient:
    """A question stands, and has raised alerts 1 and 2."""
    page.post("/alerts/new", data=FORM, follow_redirects=True)
    page.post("/alerts/queries/1/on")
    passes(site, 1, 500.0)
    passes(site, 4, 400.0)
    watch(site)
    return page


def test_a_question_of_the_search_fills_the_form(page: TestClient) -> None:
    text = page.get("/alerts/new", params={"q": "red coat", "cameras": "yard"}).text
    assert 'value="red coat"' in text and re.search(r'value="yard" checked', text)


def test_a_new_question_is_tried_at_once_and_switched_on_after(page: TestClient, deps: ApiDependencies) -> None:
    tried = page.post("/alerts/new", data=FORM, follow_redirects=True)
    assert tried.status_code == 200 and str(tried.url).endswith("/alerts/queries/1")
    assert "Would have raised 2 alerts in the last 7 days." in tried.text
    assert tried.text.count("/people/1") == 2 and tried.text.count("/api/v1/crops/") == 2
    assert not deps.alerts.book.query(1).is_on
    assert page.post("/alerts/queries/1/on").headers["location"] == "/alerts/queries/1"
    assert deps.alerts.book.query(1).is_on and "Switch off" in page.get("/alerts/queries/1").text
    page.post("/alerts/queries/1/off")
    assert not deps.alerts.book.query(1).is_on
    page.post("/alerts/queries/1/remove")
    assert page.get("/alerts/queries/1").status_code == 404
    told = [(entry.action, entry.detail.partition("reason")[0]) for entry in deps.audit.newest(20)]
    assert [action for action, _ in told if action in ("alert", "search")] == ["alert"] * 3 + ["search", "alert"]


def test_a_question_that_cannot_stand_is_explained_beside_what_was_typed(page: TestClient) -> None:
    reply = page.post("/alerts/new", data=FORM | {"q": "red coat after 14:00", "name": HOSTILE})
    assert reply.status_code == 422
    assert "leave the time out" in reply.text.lower() and 'value="red coat after 14:00"' in reply.text
    assert "<script>alert" not in reply.text


def test_alerts_are_shown_with_crops_and_judged(alerted: TestClient, deps: ApiDependencies) -> None:
    text = alerted.get("/alerts").text
    assert text.count('class="alert open"') == 2 and "/people/4" in text and text.count("/api/v1/crops/") == 2
    reply = alerted.post("/alerts/2/acknowledge", data={})
    assert reply.headers["location"] == "/alerts"
    alerted.post("/alerts/1/false-alarm", data={"every": "true"})
    assert [deps.alerts.book.alert(number).state.value for number in (1, 2)] == ["false_alarm", "acknowledged"]
    assert "Nothing is open" in alerted.get("/alerts").text
    every = alerted.get("/alerts?every=true").text
    assert "false alarm" in every and "acknowledged" in every
    assert "made it stricter" in " ".join(alerted.get("/alerts/queries/1").text.split())


def test_the_list_alone_is_what_the_page_shows(alerted: TestClient) -> None:
    part = alerted.get("/alerts/list").text
    assert part.strip().splitlines()[0] in alerted.get("/alerts").text and "<html" not in part


def test_what_somebody_calls_a_question_never_becomes_markup(page: TestClient, site: SmallSite) -> None:
    page.post("/alerts/new", data=FORM | {"name": HOSTILE}, follow_redirects=True)
    page.post("/alerts/queries/1/on")
    passes(site, 1, 500.0)
    watch(site)
    for address in ("/alerts", "/alerts/list", "/alerts/queries/1", "/alerts/new?q=" + HOSTILE):
        text = page.get(address).text
        assert "<script>alert" not in text and not re.search(r"\son\w+=|style=", text), address


def test_a_browser_that_is_logged_in_carries_its_mark_through_the_back_test(deps: ApiDependencies) -> None:
    add_account(deps, "ines", Role.INVESTIGATOR)
    client = logged_in(deps, "ines")
    assert client.post("/alerts/new", data=FORM).status_code == 403
    reply = client.post("/alerts/new", data=FORM | {"csrf": form_mark(client)}, follow_redirects=True)
    assert reply.status_code == 200 and deps.alerts.book.query(1).request.made_by == "ines"
