"""Having somebody forgotten by the pages: plain forms, which work without scripts."""

from __future__ import annotations

import json

import pytest
from fastapi.testclient import TestClient

from pipeline.accounts import Role
from pipeline.adapters.audit_store import AuditStore
from services.api.dependencies import ApiDependencies
from tests.services.api.people import HTML, add_account, form_mark, logged_in, program
from tests.services.api.test_forgetting_routes import let_others_work
from tests.small_site import SmallSite


@pytest.fixture
def page(client: TestClient) -> TestClient:
    client.headers.update(HTML)
    return client


def test_what_would_be_removed_is_told_and_nothing_is(page: TestClient) -> None:
    text = page.post("/people/1/erase", data={"why": "case 7"}).text
    assert "Nothing was removed so far. There are 2 tracklets, 2 crops" in text
    assert 'value="case 7"' in text and 'name="step" value="erase"' in text
    assert page.get("/people/1").status_code == 200 and page.get("/api/v1/erasures").json() == []


def test_a_person_is_erased_and_the_receipt_tells_until_nothing_is_left(page: TestClient, site: SmallSite) -> None:
    asked = page.post("/people/1/erase", data={"why": "case 7", "step": "erase"})
    assert (asked.status_code, asked.headers["location"]) == (303, "/erasures/1")
    text = page.get("/erasures/1").text
    assert "is to be forgotten" in text and "data-waits" in text and 'http-equiv="refresh"' in text
    let_others_work(site)
    text = page.get("/erasures/1").text
    assert "was forgotten" in text and "Nothing is left." in text and "case 7" in text and "data-waits" not in text
    assert page.get("/people/1").status_code == 404
    assert 'href="/erasures/1"' in page.get("/operations/kept").text


def test_what_cannot_be_erased_is_told_on_a_page(page: TestClient) -> None:
    for address, form in (("/people/99/erase", {"why": "case 7"}), ("/people/1/erase", {"step": "erase"})):
        reply = page.post(address, data=form)
        assert reply.status_code in (404, 422) and "That did not work" in reply.text
    assert page.get("/erasures/7").status_code == 404
    assert page.get("/api/v1/erasures").json() == []


def test_it_takes_an_admin_and_a_form_of_ours(deps: ApiDependencies) -> None:
    form = {"why": "case 7", "step": "erase"}
    assert program(deps, "ines", Role.INVESTIGATOR).post("/people/1/erase", data=form).status_code == 403
    add_account(deps, "root", Role.ADMIN)
    root = logged_in(deps, "root")
    assert root.post("/people/1/erase", data=form).status_code == 403
    assert deps.forgetting.receipts(1) == []
    assert root.post("/people/1/erase", data=form | {"csrf": form_mark(root)}).status_code == 303
    assert [receipt.made_by for receipt in deps.forgetting.receipts(2)] == ["root"]
    assert isinstance(deps.audit, AuditStore)
    (entry,) = [each for each in deps.audit.entries() if each.action == "erasure"]
    assert (entry.actor, json.loads(entry.detail)) == ("root", {"made_by": "root", "why": "case 7", "dry_run": False})
