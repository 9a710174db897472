"""What keeps people from reading and using a page, as far as a program in the page can tell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

LEAST_TARGET_PX = 44
_LOOK = Path(__file__).with_name("faults.js")


def faults_of(page: Page) -> list[str]:
    """Everything that is wrong with the page as it is shown now: words of contrast below 4.5, fields without labels,
    jumps between headings, targets under 44 px, and the like."""
    assert page.viewport_size is not None
    # A phone makes its inner width as wide as the page, so the page cannot tell.
    found: list[str] = page.evaluate(_LOOK.read_text("utf-8"), [LEAST_TARGET_PX, page.viewport_size["width"]])
    return found
