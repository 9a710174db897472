"""Putting right who is who, and reading why, in a real Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.matching.corrector import apply_corrections
from pipeline.matching.eraser import apply_erasures
from tests.browser.faults import faults_of
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
        assert "it was taken for person 2" in page.locator(".reasons").first.inner_text()
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


@pytest.mark.parametrize(("with_scripts", "person"), [(True, 3), (False, 4)])
def test_erasing_tells_first_what_it_would_remove(
    open_page: Open, served: Served, with_scripts: bool, person: int
) -> None:
    store = served.site.store
    before = len(store.receipts(9))
    with open_page(java_script_enabled=with_scripts) as page:
        page.goto(f"/people/{person}")
        assert page.get_by_role("button", name="for good").count() == 0
        page.get_by_label("Why (stays").fill("case 7")
        page.get_by_role("button", name="What would be removed?").click()
        assert "Nothing was removed so far. There are" in page.get_by_role("status").inner_text()
        assert not with_scripts or faults_of(page) == []  # axe-core is a script
        assert len(store.receipts(9)) == before
        page.get_by_role("button", name="for good").click()
        assert "Waits for the matcher" in page.get_by_role("status").inner_text()
        assert not with_scripts or faults_of(page) == []
        apply_erasures(store, HandClock(NOW + 9.0), 1e6)
        page.get_by_text("The database has forgotten").wait_for(timeout=10_000)
    assert [(each.global_id, each.why) for each in store.receipts(1)] == [(person, "case 7")]


def test_who_is_who_is_put_right_without_scripts(open_page: Open, served: Served) -> None:
    store = served.site.store
    with open_page(java_script_enabled=False) as page:
        page.goto("/people/5")
        page.get_by_text("Why person 5?").first.click()
        page.get_by_role("link", name="Read the reasons").first.click()
        assert "Why this is person 5" in page.get_by_role("heading", level=1).inner_text()
        page.get_by_role("link", name="Person 5").click()
        page.get_by_label("Number of the other person").fill("6")
        page.get_by_role("button", name="Is the same as person 5").click()
        assert "has not applied it yet" in page.get_by_role("status").inner_text()
        apply_corrections(store, HandClock(NOW + 6.0))
        page.get_by_text("went from person 6 to person 5").wait_for(timeout=10_000)
        page.get_by_role("button", name="Undo").click()
        apply_corrections(store, HandClock(NOW + 8.0))
        page.get_by_text("went back").wait_for(timeout=10_000)
