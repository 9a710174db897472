"""The page in a real Chromium: what a person sees and does, on a desk and on a phone, in light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes import jpeg

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.browser.conftest import Served

Open = Callable[..., AbstractContextManager["Page"]]

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
FAINT_WORDS = """
() => {
  const values = text => text.match(/[\\d.]+/g).map(Number);
  const channel = value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = element => {
    for (; element; element = element.parentElement) {
      const colour = values(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const contrast = element => {
    const [a, b] = [light(values(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  return [...document.querySelectorAll("h1, h2, h3, p, a, dt, dd, label, legend, button, time, summary, .place")]
    .filter(element => element.checkVisibility() && element.innerText.trim() && contrast(element) < 4.5)
    .map(element => element.innerText);
}
"""


@pytest.fixture
def open_page(browser: Browser, served: Served) -> Open:
    @contextmanager
    def opened(**options: Any) -> Iterator[Page]:
        context = browser.new_context(base_url=served.address, **{"viewport": DESK} | options)
        page = context.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if "Security Policy" in message.text else None)
        try:
            yield page
            assert not faults
        finally:
            context.close()

    return opened


def test_a_sentence_leads_to_a_person_and_the_whole_route(open_page: Open) -> None:
    with open_page() as page:
        page.goto("/")
        page.get_by_label("Describe a person").fill("yellow coat")
        page.get_by_role("button", name="Search").click()
        card = page.locator("article").first
        assert "%" in card.inner_text()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("[...document.images].slice(0, 5).every(i => i.complete && i.naturalWidth > 10)")
        card.get_by_role("heading").get_by_role("link").click()
        assert page.get_by_role("heading", level=1).inner_text().startswith("Person")
        assert page.locator(".sightings > li").count() > 1
        page.get_by_role("link", name="More like this").click()
        assert "People like person" in page.get_by_role("heading", level=1).inner_text()


def test_the_search_works_without_javascript(open_page: Open, served: Served) -> None:
    with open_page(java_script_enabled=False) as page:
        page.goto("/")
        page.locator("summary").click()
        page.get_by_label("lobby").check()
        page.get_by_label("Since").fill("1h")
        page.get_by_label("Describe a person").fill("red polka dots")
        page.get_by_label("Describe a person").press("Enter")
        assert page.url.endswith("/?q=red+polka+dots&cameras=lobby&since=1h")
        summary = page.locator(".summary").inner_text()
        assert "No confident match" in summary and "polka" in summary
        assert page.get_by_label("lobby").is_checked() and not page.get_by_label("yard").is_checked()
        page.get_by_role("link", name="Show the closest anyway").click()
        assert "unlikely" in page.locator("article").first.inner_text()


def test_a_picture_finds_its_person(open_page: Open, simulated_stays: Any, tmp_path: Path, served: Served) -> None:
    stay = simulated_stays[0][0]
    picture = tmp_path / "someone.jpg"
    picture.write_bytes(jpeg(stay.picture))
    with open_page() as page:
        page.goto("/")
        page.locator("summary").click()
        page.get_by_label("Or a picture of the person").set_input_files(picture)
        page.get_by_role("button", name="Search").click()
        assert "someone.jpg" in page.get_by_role("heading", level=1).inner_text()
        assert page.locator("article").count() >= 1


def test_the_camera_wall_tells_states_and_renews_its_pictures(open_page: Open, served: Served) -> None:
    with open_page() as page:
        page.goto("/cameras")
        wall = page.locator(".wall")
        assert "live, 2 people in view" in wall.inner_text()
        assert "connection refused" in wall.inner_text()
        with page.expect_response(lambda reply: "snapshot.jpg?at=" in reply.url and reply.ok, timeout=10_000):
            pass
        with page.expect_response(lambda reply: reply.url.endswith("/api/v1/cameras") and reply.ok, timeout=10_000):
            pass


def test_a_missing_crop_is_shown_as_a_placeholder(open_page: Open, served: Served) -> None:
    key = served.site.search.person(1).crop_keys[0]  # type: ignore[arg-type]
    content = served.site.blobs.get(key)
    assert content is not None
    served.site.blobs.delete(key)
    try:
        with open_page() as page:
            page.goto("/people/1")
            image = page.locator(f'img[src$="{key}"]')
            image.scroll_into_view_if_needed()
            page.wait_for_load_state("networkidle")
            assert image.evaluate("image => image.naturalWidth") > 0
    finally:
        served.site.blobs.put(content)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(open_page: Open, scheme: str) -> None:
    with open_page(color_scheme=scheme) as page:
        for address in ("/", "/?q=yellow+zeppelin&weak=true&since=1h", "/?q=red&since=teatime", "/people/1"):
            page.goto(address)
            assert page.evaluate(FAINT_WORDS) == []


def test_every_field_has_a_label_and_every_picture_an_alternative(open_page: Open) -> None:
    with open_page() as page:
        for address in ("/", "/?q=yellow", "/people/1", "/cameras"):
            page.goto(address)
            assert page.evaluate("[...document.images].every(image => image.hasAttribute('alt'))")
            assert page.evaluate("[...document.querySelectorAll('input')].every(input => input.labels.length > 0)")
            assert page.locator("h1").count() == 1


def test_the_keyboard_reaches_the_search_and_shows_where_it_is(open_page: Open) -> None:
    with open_page() as page:
        page.goto("/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        for _ in range(5):
            page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "q"
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize(
    "address", ["/", "/?q=yellow&since=1h&cameras=lobby", "/people/1", "/people", "/cameras", "/people/99"]
)
def test_a_phone_shows_every_page_without_scrolling_sideways(open_page: Open, address: str) -> None:
    with open_page(viewport=PHONE, is_mobile=True, has_touch=True) as page:
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
