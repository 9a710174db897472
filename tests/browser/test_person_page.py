"""Putting right who is who, and reading why, in a real Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.matching.corrector import apply_corrections
from tests.fakes import HandClock
from tests.small_site import NOW

if TYPE_CHECKING:
    from tests.browser.conftest import Open, Served


def test_a_split_is_watched_until_the_matcher_has_applied_it_and_taken_back(open_page: Open, served: Served) -> None:
    store = served.site.store
    with open_page() as page:
        page.goto("/people/2")
        sightings = page.locator(".sighting").count()
        page.get_by_text("Why person 2?").first.click()
        assert "Person 2 was given to it" in page.locator(".reasons").first.inner_text()
        page.get_by_label("Somebody else").first.check()
        page.get_by_role("button", name="Split the chosen off").click()
        assert "has not applied it yet" in page.get_by_role("status").inner_text()
        apply_corrections(store, HandClock(NOW + 2.0))
        page.get_by_text("went from person 2 to the new person").wait_for()
        page.get_by_role("link", name="Person 2").click()
        assert page.locator(".sighting").count() == sightings - 1
        page.get_by_role("button", name="Undo").first.click()
        apply_corrections(store, HandClock(NOW + 4.0))
        page.get_by_text("went back").wait_for()
        page.goto("/people/2")
        assert page.locator(".sighting").count() == sightings


def test_erasing_tells_first_what_it_would_remove(open_page: Open, served: Served) -> None:
    store = served.site.store
    with open_page() as page:
        page.goto("/people/3")
        erase = page.get_by_role("button", name="for good")
        assert not erase.is_visible()
        page.get_by_label("Why (stays").fill("case 7")
        page.get_by_role("button", name="What would be removed?").click()
        page.get_by_text("nothing was removed; there are").wait_for()
        assert store.receipts(1) == []
        erase.click()
        erase.wait_for(state="hidden")
    assert [(each.global_id, each.why) for each in store.receipts(2)] == [(3, "case 7")]
