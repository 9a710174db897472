"""What keeps people from reading and using a page, as far as a program in the page can tell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

LEAST_TARGET_PX = 44
_LOOK = Path(__file__).with_name("faults.js")
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]  # of axe-core, every one of them


def faults_of(page: Page) -> list[str]:
    """Everything that is wrong with the page as it is shown now: what axe-core finds, and what it does not look for.

    That is touch targets under 44 px, pages wider than the screen, words of a contrast below 4.5 in drawings and over
    pictures, drawings without words, two elements of one name, names and links that lead to no place, and headings that
    do not begin with the only h1.
    """
    assert page.viewport_size is not None
    # A phone makes its inner width as wide as the page, so the page cannot tell.
    found: list[str] = page.evaluate(_LOOK.read_text("utf-8"), [LEAST_TARGET_PX, page.viewport_size["width"]])
    return found + _violations(page)


def _violations(page: Page) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    options = {"resultTypes": ["violations"], "runOnly": {"type": "tag", "values": _RULES}}
    found = Axe().run(page, options=options).response["violations"]
    return [f"axe {rule['id']}, {rule['help']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]
