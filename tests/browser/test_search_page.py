"""The page in a real Chromium: what a person sees and does, on a desk and on a phone, in light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.browser.conftest import PHONE
from tests.fakes import jpeg

if TYPE_CHECKING:
    from tests.browser.conftest import Open, Served

DROPPED = """
bytes => {
  const dropped = new DataTransfer();
  dropped.items.add(new File([new Uint8Array(bytes)], "someone.jpg", { type: "image/jpeg" }));
  return dropped;
}
"""


def test_a_sentence_leads_to_a_person_and_the_whole_route(open_page: Open) -> None:
    with open_page() as page:
        page.goto("/")
        page.keyboard.press("/")
        page.keyboard.type("yellow coat")
        page.keyboard.press("Enter")
        card = page.locator("article").first
        assert "%" in card.inner_text()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("[...document.images].slice(0, 5).every(i => i.complete && i.naturalWidth > 10)")
        page.get_by_role("button", name="Last hour").click()
        assert page.url.endswith("/?q=yellow+coat&since=1h")
        page.get_by_label("lobby", exact=True).check()
        page.wait_for_url("**/?q=yellow+coat&cameras=lobby&since=1h")
        card.get_by_role("heading").get_by_role("link").click()
        assert page.get_by_role("heading", level=1).inner_text().startswith("Person")
        assert page.locator(".sighting").count() > 1
        page.get_by_role("link", name="More like this").click()
        assert "People like person" in page.get_by_role("heading", level=1).inner_text()


def test_pointer_focus_and_tap_play_the_crops_of_a_sighting(open_page: Open) -> None:
    with open_page() as page:
        page.goto("/?q=yellow")
        link = page.locator(".player").filter(has=page.locator("img")).first
        # A sighting with three crops, whichever the simulation gave.
        link.evaluate("link => link.dataset.crops = [...document.images].slice(1, 4).map(i => i.src).join(' ')")
        shown = "link => link.querySelector('img').src"
        first = link.evaluate(shown)
        link.hover()
        page.wait_for_function(
            "([link, first]) => link.querySelector('img').src !== first", arg=[link.element_handle(), first]
        )
        page.mouse.move(0, 0)
        assert link.evaluate(shown) == first
    with open_page(viewport=PHONE, is_mobile=True, has_touch=True) as page:
        page.goto("/?q=yellow")
        link = page.locator(".player").first
        link.tap()
        assert "playing" in str(link.get_attribute("class")) and "/?q=yellow" in page.url
        link.tap()
        page.wait_for_url("**/people/*")


def test_the_search_works_without_javascript(open_page: Open, served: Served) -> None:
    with open_page(java_script_enabled=False) as page:
        page.goto("/")
        page.get_by_label("lobby", exact=True).check()
        page.get_by_label("Describe a person").fill("red polka dots")
        page.get_by_role("button", name="Last hour").click()
        assert page.url.endswith("/?q=red+polka+dots&cameras=lobby&since=1h")
        summary = page.locator(".summary").inner_text()
        assert "No confident match" in summary and "polka" in summary
        assert page.get_by_label("lobby", exact=True).is_checked() and not page.get_by_label("yard").is_checked()
        page.get_by_role("link", name="Show the closest anyway").click()
        assert "as far as understood" in page.locator("article").first.inner_text()
        page.get_by_role("button", name="Wrong").first.click()
        assert page.get_by_role("button", name="Wrong").first.get_attribute("aria-pressed") == "true"


def test_a_picture_finds_its_person(open_page: Open, simulated_stays: Any, tmp_path: Path, served: Served) -> None:
    stay = simulated_stays[0][0]
    picture = tmp_path / "someone.jpg"
    picture.write_bytes(jpeg(stay.picture))
    with open_page() as page:
        page.goto("/")
        dropped = page.evaluate_handle(DROPPED, list(picture.read_bytes()))
        page.dispatch_event("form[data-search]", "drop", {"dataTransfer": dropped})
        page.wait_for_selector("#result")
        assert "someone.jpg" in page.get_by_role("heading", level=1).inner_text()
        assert page.locator("article").count() >= 1


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


def test_the_keyboard_reaches_the_search_and_shows_where_it_is(open_page: Open) -> None:
    with open_page() as page:
        page.goto("/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        links = page.locator("header a").count()
        for _ in range(links + 1):
            page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "q"
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
