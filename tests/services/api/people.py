"""Accounts for tests of the API, and browsers that are logged in by them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from fastapi.testclient import TestClient

from pipeline.accounts import Account, Role
from pipeline.contracts import CameraId
from services.api.app import create_app
from services.api.callers import digest_of
from services.api.dependencies import ApiDependencies
from tests.small_site import NOW

PASSWORD = "correct horse battery staple"
HTML = {"Accept": "text/html"}


def add_account(deps: ApiDependencies, name: str, role: Role, cameras: Collection[str] = ()) -> dict[str, str]:
    """An account with `PASSWORD`; returns the header by which a program is it."""
    account = Account(name, role, NOW, frozenset(CameraId(camera) for camera in cameras))
    deps.accounts.add_account(account, deps.passwords.hashed(PASSWORD))
    deps.accounts.add_token(name, digest_of(f"token of {name}"), NOW, None)
    return {"Authorization": f"Bearer token of {name}"}


def browser(deps: ApiDependencies, host: str = "cameras.example") -> TestClient:
    """Off localhost, with cookies of its own."""
    app = create_app(replace(deps, host="0.0.0.0"))
    return TestClient(app, base_url=f"http://{host}", follow_redirects=False)


def program(deps: ApiDependencies, name: str, role: Role, cameras: Collection[str] = ()) -> TestClient:
    """A program with the token of a new account."""
    token = add_account(deps, name, role, cameras)
    client = browser(deps)
    client.headers = {**client.headers, **token}
    return client


def logged_in(deps: ApiDependencies, name: str) -> TestClient:
    client = browser(deps)
    assert client.post("/login", data={"name": name, "password": PASSWORD}).status_code == 303
    return client


def form_mark(client: TestClient) -> str:
    """What the page puts into its forms."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get("/", headers=HTML).text)
    assert found is not None
    return found[1]
