"""Live cameras, alerts and operations in a real Chromium: the main task of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pipeline.adapters.memory_bus import MemoryBus
from pipeline.contracts import StreamName
from pipeline.kept import Coverage
from reid_models.manifest import DEFAULT_BUNDLE, read_manifest
from reid_models.registry import Registry
from services.models import ModelsInUse
from services.operations import Operations
from tests.browser.conftest import running
from tests.browser.faults import faults_of
from tests.fakes import DIGEST, HandClock, event, jpeg, painted
from tests.services.api.nights import write_nights
from tests.services.api.test_alert_routes import watch
from tests.services.nightly.small_nights import make_bundle
from tests.small_site import COLOURS, DISK, NOW, Stay, api_dependencies, camera_status, record

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.browser.conftest import Served

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
TAUGHT = "0123456789abcdef"


@pytest.fixture(scope="module")
def operated(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the site with nights behind it, a second model and a few messages set aside."""
    folder = tmp_path_factory.mktemp("operated")
    bus, registry = MemoryBus(), Registry(folder / "models")
    bus.publish(StreamName.IDENTITIES, [event(number) for number in range(1, 4)])
    for delivery in bus.consume(StreamName.IDENTITIES, "notifier", "one", 3, 0.0):
        bus.set_aside(delivery, "notifier", "handed out 3 times and never acknowledged: the consumer failed each time")
    make_bundle(folder / "models" / TAUGHT, "taught here", TAUGHT)
    write_nights(folder / "nights", 0.482, 0.461, 0.474, 0.47, 0.458)
    use = ModelsInUse(TAUGHT, read_manifest(DEFAULT_BUNDLE).digest, Coverage(1234, 2870, 0))
    operations = Operations(bus, registry, lambda: use, folder / "nights", lambda: DISK, HandClock(NOW))
    with running(replace(api_dependencies(served.site), operations=operations)) as address:
        yield address


@pytest.fixture
def page(browser: Browser, operated: str) -> Iterator[Page]:
    context = browser.new_context(base_url=operated, viewport=DESK)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if "Security Policy" in message.text else None)
    yield page
    context.close()
    assert not faults


def test_the_wall_follows_what_cameras_report(page: Page, served: Served, simulated_stays: Any) -> None:
    page.goto("/cameras")
    lobby = page.locator('[data-camera="lobby"]')
    assert "connection refused" in page.locator('[data-camera="yard"]').inner_text()
    assert lobby.locator("svg rect").count() == len(simulated_stays[1][0].in_view) > 0
    shown = simulated_stays[1][0]
    before = next(status for status in served.site.board.statuses() if status.camera_id == "lobby")
    fewer = camera_status("lobby").model_copy(update={"reported_at": NOW, "people": 0})
    served.site.board.report(fewer, jpeg(shown.image))
    try:
        lobby.locator("svg rect").first.wait_for(state="detached", timeout=10_000)
        assert "0 people in view" in lobby.inner_text()
        assert lobby.locator("img").evaluate("image => image.naturalWidth") > 0
    finally:
        served.site.board.report(before, jpeg(shown.image))


def test_a_question_becomes_an_alert_that_appears_by_itself_and_is_judged(page: Page, served: Served) -> None:
    page.goto("/alerts/new?q=yellow+coat")
    page.get_by_role("button", name="Try it on the last 7 days").click()
    assert "Would have raised" in page.locator("main").inner_text()
    assert page.locator(".alert").count() > 0
    page.get_by_role("button", name="Switch on").click()
    page.goto("/alerts")
    assert "Nothing is open" in page.locator("main").inner_text()
    served.site.store.switch_model(DIGEST, 0, NOW, "first")
    record(
        served.site.store, served.site.blobs, [Stay(99, "lobby", 4.0, painted(COLOURS["yellow"]))], served.site.encoder
    )
    watch(served.site)
    alert = page.locator(".alert.open").first
    alert.wait_for(timeout=10_000)
    assert "Person 99" in alert.inner_text()
    alert.get_by_role("button", name="False alarm").click()
    page.goto("/alerts?every=true")
    assert "false alarm" in page.locator(".alert").first.inner_text()


def test_dead_letters_are_sent_again_and_the_page_says_so(page: Page) -> None:
    page.goto("/operations")
    assert page.locator("tbody tr", has_text="never acknowledged").count() == 3
    page.get_by_role("button", name="Send all again").click()
    page.get_by_text("3 messages sent again").wait_for(timeout=10_000)


def test_nights_are_plotted_and_the_record_is_checked(page: Page) -> None:
    page.goto("/operations/nights")
    assert page.locator("figure circle").count() == 10
    page.get_by_role("row", name="promoted").first.get_by_role("link").click()
    assert "Gates" in page.locator("main").inner_text()
    page.get_by_role("link", name="Audit").click()
    page.get_by_role("button", name="Check the record").click()
    page.get_by_text("none changed").wait_for(timeout=10_000)


PAGES = (
    "/cameras",
    "/alerts?every=true",
    "/alerts/new?q=yellow+coat+and+a+zeppelin",
    "/alerts/queries/1",
    "/operations",
    "/operations/models",
    "/operations/nights",
    "/operations/nights/2026-05-27T02-00-00Z",
    "/operations/kept",
    "/operations/audit",
    "/operations/nights/none",
)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"viewport": PHONE, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}, id="phone"),
        pytest.param({"viewport": DESK, "color_scheme": "light"}, id="desk"),
    ],
)
def test_everybody_can_read_and_use_these_pages(browser: Browser, operated: str, options: dict[str, Any]) -> None:
    form = {"q": "yellow coat", "window_s": "600", "daily_budget": "200"}
    httpx.post(f"{operated}/alerts/new", data=form, follow_redirects=True).raise_for_status()
    context, found = browser.new_context(base_url=operated, **options), {}
    page = context.new_page()
    for address in PAGES:
        page.goto(address, wait_until="domcontentloaded")
        found[address] = faults_of(page)
    context.close()
    assert found == {address: [] for address in PAGES}
