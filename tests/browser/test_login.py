"""Logging in, searching and logging out in a real Chromium."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.accounts import Role
from tests.browser.conftest import running
from tests.services.api.people import PASSWORD, add_account
from tests.small_site import api_dependencies, small_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_a_viewer_logs_in_where_she_was_going_searches_and_logs_out(browser: Browser, tmp_path: Path) -> None:
    site = small_site(folder=tmp_path)
    deps = dataclasses.replace(api_dependencies(site), host="0.0.0.0")
    add_account(deps, "vera", Role.VIEWER, ["lobby"])
    with running(deps) as address:
        page = browser.new_page(base_url=address)
        page.goto("/people/1")
        page.fill("#name", "vera")
        page.fill("#password", PASSWORD)
        page.click("form.login button")
        page.wait_for_url("**/people/1")
        assert "lobby" in page.inner_text("main") and "yard" not in page.inner_text("main")
        page.goto("/")
        page.fill("#q", "red coat")
        page.click("form.search button")
        page.wait_for_url("**/?q=red+coat")
        assert page.get_by_role("heading", name="Person 1").is_visible()
        page.click("text=Log out")
        page.wait_for_url("**/login")
        page.goto("/people/1")
        assert page.url.endswith("/login?next=%2Fpeople%2F1")
        page.close()
    site.store.close()
