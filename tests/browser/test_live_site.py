"""Every main task of the console on a running site, by people who have logged in: real processes, a real browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pytest

from pipeline.accounts import Role
from pipeline.adapters.simulated_site import SimulatedAddress
from services.accounts import account_desk
from services.settings import load
from services.up import RunningSystem, running_system
from tests.browser.budget import cost_of
from tests.browser.conftest import DESK, PHONE
from tests.browser.faults import faults_of
from tests.browser.test_budget import BUDGET_KB
from tests.services.api.people import PASSWORD

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

CAMERAS = ("gate", "lobby")
SEED, PEOPLE, FPS = 34, 6, 6.0  # three of the six wear red
SENTENCE = "a person in red"
SOON_MS = 30_000
NEXT_ROUND_MS = 150_000  # everybody comes again within 96 s, and is decided about some seconds later
DESK_IN_LIGHT = {"viewport": DESK, "color_scheme": "light"}
PHONE_IN_THE_DARK = {"viewport": PHONE, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """A site as `sightline up` runs it, with an investigator and an admin."""
    start_at = float(int(time.time()))
    addresses = [
        str(SimulatedAddress(SEED, len(CAMERAS), number, PEOPLE, fps=FPS, start_at=start_at))
        for number in range(len(CAMERAS))
    ]
    settings = load(
        None,
        {
            "site": "console",
            "data_dir": tmp_path_factory.mktemp("live") / "data",
            "api": {"port": 0},
            "metrics_port": 0,
            "cameras": [
                {"id": name, "address": address, "analysed_fps": FPS}
                for name, address in zip(CAMERAS, addresses, strict=True)
            ],
            "tracking": {"detector": "motion"},
            "alerts": {"false_alarm_budget": 0.3},
        },
    )
    with running_system(settings) as system:
        with account_desk(system.settings) as desk:
            desk.add("ines", Role.INVESTIGATOR, PASSWORD)
            desk.add("root", Role.ADMIN, PASSWORD)
        assert system.supervisor.wait_until_ready(180, lambda _: None)
        yield system


@contextmanager
def logged_in(browser: Browser, live: RunningSystem, name: str, **options: Any) -> Iterator[Page]:
    context = browser.new_context(base_url=live.page, **options)
    context.set_default_timeout(SOON_MS)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto("/login")
    page.fill("#name", name)
    page.fill("#password", PASSWORD)
    page.click("form.login button")
    page.wait_for_url("**/")
    try:
        yield page
        assert not faults
    finally:
        context.close()


def searched(page: Page, least: int) -> list[int]:
    """Ask in a sentence until so many people are found; their numbers, the best first."""
    deadline = time.monotonic() + SOON_MS / 1000
    while True:
        page.goto("/")
        page.get_by_label("Describe a person").fill(SENTENCE)
        page.keyboard.press("Enter")
        page.wait_for_selector("#result")
        found = numbers(page)
        if len(found) >= least or time.monotonic() > deadline:
            assert len(found) >= least, page.inner_text("main")
            return found


def merged_and_taken_back(page: Page) -> None:
    """Open the first person of an answer, say that somebody else is the same, and take it back."""
    found = numbers(page)
    page.locator(".card h3 a").first.click()
    person = number_of(page)
    page.goto("/people")
    # Rather one who looks different and has long been known, lest the matcher make them one by itself.
    other = min((number for number in numbers(page) if number != person), key=lambda number: (number in found, number))
    page.goto(f"/people/{person}")
    page.get_by_text(f"Why person {person}?").first.click()
    assert "Seen at" in page.locator(".reasons li").first.inner_text()
    assert faults_of(page) == []
    page.get_by_label("Number of the other person").fill(str(other))
    page.get_by_role("button", name="Is the same as").click()
    page.get_by_text(f"went from person {other} to person {person}").wait_for()
    page.goto(f"/people/{other}")
    assert number_of(page) == person
    page.get_by_role("button", name="Undo").first.click()
    page.get_by_text("went back").wait_for()
    page.goto(f"/people/{other}")
    assert number_of(page) == other


def watched_for(page: Page) -> None:
    """Save a search as a question that stands, after its trial."""
    searched(page, 1)
    page.get_by_role("link", name="Watch for this").click()
    page.get_by_role("button", name="Try it on the last 7 days").click()
    assert "Would have raised" in page.inner_text("main")
    page.get_by_role("button", name="Switch on").click()
    page.get_by_role("button", name="Switch off").wait_for()


def alert_seen_to(page: Page) -> None:
    """Wait on the page of alerts until one appears by itself, and acknowledge it."""
    page.goto("/alerts")
    alert = page.locator(".alert.open").first
    alert.wait_for(timeout=NEXT_ROUND_MS)
    name = str(alert.get_attribute("id"))
    page.locator(f"#{name}").get_by_role("button", name="Seen to").click()
    page.locator(f"#{name}").wait_for(state="detached")
    page.goto("/alerts?every=true")
    assert "acknowledged by ines" in page.locator(f"#{name}").inner_text()


def erased(page: Page) -> str:
    """Have the best answer forgotten, after looking at what that would remove; the address of the receipt."""
    searched(page, 1)
    page.locator(".card h3 a").first.click()
    person = number_of(page)
    for decision in (f"Keep person {person}", f"Erase person {person} for good"):
        page.get_by_label("Why (stays").fill("file 7")
        page.get_by_role("button", name="What would be removed?").click()
        assert "Nothing was removed so far" in page.get_by_role("status").inner_text()
        page.get_by_text(decision, exact=True).click()
    page.wait_for_url("**/erasures/*")
    receipt = page.url
    page.get_by_text("The database has forgotten").wait_for()
    reply = page.goto(f"/people/{person}")
    assert reply is not None and reply.status == 404
    assert person not in searched(page, 0)
    return receipt


def keeps_to_its_budget(page: Page) -> None:
    """The first page, for a browser that knows only who is logged in."""
    assert page.context.browser is not None
    anew = page.context.browser.new_context(viewport=DESK, storage_state=page.context.storage_state())
    first = anew.new_page()
    first.goto(urljoin(page.url, "/"))
    cost = cost_of(first)
    anew.close()
    print(f"the first page of a running site: {cost}")  # noqa: T201
    assert cost.transferred_kb <= BUDGET_KB, cost.parts


def number_of(page: Page) -> int:
    return int(page.get_by_role("heading", level=1).inner_text().split()[-1])


def numbers(page: Page) -> list[int]:
    return [int(name.split()[-1]) for name in page.locator(".card h3").all_inner_texts()]


def test_the_main_task_of_every_page_on_a_desk_in_light_and_on_a_phone_in_the_dark(
    browser: Browser, live: RunningSystem
) -> None:
    with logged_in(browser, live, "ines", **DESK_IN_LIGHT) as page:
        searched(page, 2)
        keeps_to_its_budget(page)
        merged_and_taken_back(page)
        watched_for(page)
        alert_seen_to(page)
    with logged_in(browser, live, "root", **DESK_IN_LIGHT) as page:
        receipt = erased(page)
    with logged_in(browser, live, "ines", **PHONE_IN_THE_DARK) as page:
        searched(page, 1)
        merged_and_taken_back(page)
        alert_seen_to(page)
    with logged_in(browser, live, "root", **PHONE_IN_THE_DARK) as page:
        erased(page)
        page.goto(receipt)
        page.get_by_text("Nothing is left.").wait_for(timeout=NEXT_ROUND_MS)
        assert faults_of(page) == []
    assert live.supervisor.failures() == {}
