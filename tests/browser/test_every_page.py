"""Every page on a phone in the dark and on a desk in the light: nothing faint, unnamed, too small or too wide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.browser.conftest import DESK, PHONE
from tests.browser.faults import faults_of

if TYPE_CHECKING:
    from tests.browser.conftest import Open, Served

PAGES = (
    "/",
    "/?q=yellow+zeppelin+at+the+lobby%2C+no+hat&weak=true&since=1h",
    "/?q=red&since=teatime",
    "/?cameras=lobby&since=1h",
    "/people",
    "/people/1",
    "/people/1/report",
    "/tracklets/{tracklet}/why",
    "/corrections",
    "/corrections/1",
    "/cameras",
    "/alerts",
    "/alerts/new?q=red+coat",
    "/operations",
    "/operations/models",
    "/operations/nights",
    "/operations/kept",
    "/operations/audit",
    "/people/99",
    "/login",
)


@pytest.fixture
def pages(served: Served) -> list[str]:
    tracklets = served.site.search.person(1).route[0].tracklet_ids  # type: ignore[arg-type]
    body = {"kind": "merge", "global_ids": [8, 9], "note": "the same coat"}
    httpx.post(f"{served.address}/api/v1/corrections", json=body).raise_for_status()
    return [page.replace("{tracklet}", tracklets[0]) for page in PAGES]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"viewport": PHONE, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}, id="phone"),
        pytest.param({"viewport": DESK, "color_scheme": "light"}, id="desk"),
    ],
)
def test_everybody_can_read_and_use_every_page(open_page: Open, pages: list[str], options: dict[str, Any]) -> None:
    found = {}
    with open_page(**options) as page:
        for address in pages:
            page.goto(address, wait_until="domcontentloaded")
            found[address] = faults_of(page)
    assert found == {address: [] for address in pages}


def test_the_check_finds_what_it_looks_for(open_page: Open) -> None:
    with open_page(viewport=PHONE) as page:
        page.goto("/login")
        assert faults_of(page) == []
        page.evaluate(
            """document.querySelector("main").insertAdjacentHTML("beforeend", `
            <h4 id="main">x</h4><input><img src="/static/icon.svg"><button></button><a href="#nowhere">x</a>
            <p class="faint">faint</p><label><input type="checkbox"> small</label><pre>${"x".repeat(200)}</pre>
            <svg viewBox="0 0 9 9"></svg><a href="/" tabindex="3">x</a><a href="/"></a><h1>Another</h1>
            <details><summary></summary></details><p aria-hidden="true"><a href="/">x</a></p>
            <input aria-labelledby="nobody">`);
            document.documentElement.lang = document.title = "";
            document.querySelector(".faint").attributeStyleMap.set("color", "#999999")"""
        )
        found = " ".join(faults_of(page))
    for fault in (
        "axe label,",
        "axe image-alt,",
        "axe button-name,",
        "axe link-name,",
        "axe summary-name,",
        "axe tabindex,",
        "axe aria-hidden-focus,",
        "axe heading-order,",
        "axe html-has-lang,",
        "axe document-title,",
        "axe color-contrast,",
        "axe target-size,",
        "a drawing without words",
        "id main",
        "a link to no place",
        "not with the only h1",
        "words that are not there",
        "faint words",
        "too small",
        "px wide",
    ):
        assert fault in found, (fault, found)
