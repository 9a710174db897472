"""The first page is small enough for a phone on a slow line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.budget import cost_of
from tests.browser.conftest import DESK, PHONE

if TYPE_CHECKING:
    from tests.browser.conftest import Open

BUDGET_KB = 150


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("address", ["/", "/?q=yellow+coat"])
def test_the_search_page_with_all_that_it_loads_keeps_to_its_budget(
    open_page: Open, viewport: dict[str, int], address: str
) -> None:
    with open_page(viewport=viewport) as page:
        page.goto(address)
        # How far ahead of the view a browser loads pictures depends on what it thinks of the line: here it loads all.
        page.evaluate("document.querySelectorAll('img').forEach(image => { image.loading = 'eager'; })")
        page.wait_for_load_state("networkidle")
        cost = cost_of(page)
    print(f"{address} at {viewport['width']} px: {cost}")  # noqa: T201
    assert 5 < cost.transferred_kb <= BUDGET_KB, cost


def test_pictures_of_cameras_come_when_somebody_scrolls_to_them_and_without_scripts_at_once(open_page: Open) -> None:
    with open_page() as page:
        page.goto("/")
        page.wait_for_load_state("networkidle")
        assert page.locator(".live-camera").count() == 0
        page.locator("#cameras").scroll_into_view_if_needed()
        page.mouse.wheel(0, 3000)
        page.locator('[data-camera="lobby"] svg rect').first.wait_for(timeout=10_000)
    with open_page(java_script_enabled=False) as page:
        page.goto("/")
        assert page.locator(".live-camera").count() == 3
