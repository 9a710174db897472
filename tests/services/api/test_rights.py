"""Every route has its least role, and every other role is refused; nothing answers to nobody."""

from __future__ import annotations

import dataclasses

import pytest
from fastapi.testclient import TestClient

from pipeline.accounts import Account, Role
from pipeline.adapters.account_store import SqlAccounts
from pipeline.errors import Unavailable
from services.api.app import PARTS, create_app
from services.api.dependencies import ApiDependencies
from services.api.rights import RIGHTS, least_role
from tests.services.api.people import HTML, add_account, browser
from tests.small_site import SmallSite

ROUTES = sorted((method, route.path) for part in PARTS for route in part.router.routes for method in route.methods)
VALUES = {
    "{global_id}": "1",
    "{key}": "0" * 40,
    "{camera_id}": "lobby",
    "{number}": "1",
    "{night}": "2026-05-28T02-00-00Z",
    "{tracklet_id:path}": "lobby/b1/72000/0",
    "/alerts/feed": "/alerts/feed?for_s=0",  # which would go on for an hour
}


def address(route: str) -> str:
    for name, value in VALUES.items():
        route = route.replace(name, value)
    assert "{" not in route, f"give {route} a value in VALUES"
    return route


def test_every_route_stands_in_the_table_and_no_other() -> None:
    assert set(ROUTES) == set(RIGHTS)


def test_what_is_in_no_line_is_for_admins() -> None:
    assert least_role(RIGHTS, "GET", "/api/v1/forgotten") is Role.ADMIN
    assert least_role(RIGHTS, "DELETE", "/people") is Role.ADMIN


def test_only_health_and_the_login_answer_to_nobody() -> None:
    assert {path for (_, path), least in RIGHTS.items() if least is None} == {
        "/healthz",
        "/login",
        "/login/provider",
        "/login/callback",
    }


@pytest.fixture
def headers(deps: ApiDependencies) -> dict[Role, dict[str, str]]:
    return {role: add_account(deps, role.value, role, ["lobby"] if role is Role.VIEWER else []) for role in Role}


@pytest.mark.parametrize("role", [None, *Role])
def test_every_route_refuses_whom_it_should_and_nobody_else(
    deps: ApiDependencies, headers: dict[Role, dict[str, str]], role: Role | None
) -> None:
    client = browser(deps)
    for method, route in ROUTES:
        least = RIGHTS[method, route]
        sent = headers[role] if role is not None else {}
        status = client.request(method, address(route), headers=sent).status_code
        refused = {None: 401}.get(role, 403)
        is_allowed = least is None or (role is not None and role.includes(least))
        if route.startswith("/login"):
            assert status in (200, 303, 401, 404), route  # without a password or a provider
        else:
            assert (status == refused) is not is_allowed, (method, route, role, status)


@pytest.mark.parametrize("path", ["/api/v1/openapi.json", "/nowhere", "/api/v1/nowhere", "//", "/static", "/LOGIN"])
def test_what_is_no_route_is_told_to_nobody(deps: ApiDependencies, path: str) -> None:
    add_account(deps, "anna", Role.VIEWER)
    assert browser(deps).get(path).status_code == 401


def test_metrics_are_open_where_the_settings_say_so_and_nothing_else_is(deps: ApiDependencies) -> None:
    add_account(deps, "anna", Role.VIEWER)
    client = browser(dataclasses.replace(deps, open_metrics=True))
    assert client.get("/metrics").status_code == 200
    assert client.get("/readyz").status_code == client.get("/people").status_code == 401


def test_everything_is_open_on_localhost_until_there_is_an_account(deps: ApiDependencies, client: TestClient) -> None:
    page = client.get("/", headers=HTML)
    assert page.status_code == 200 and "sightline accounts add" in page.text
    assert client.get("/api/v1/me").json() == {"name": "this machine", "role": "admin", "cameras": None}
    token = add_account(deps, "anna", Role.VIEWER, ["yard"])
    assert client.get("/api/v1/me").status_code == 401
    assert client.get("/api/v1/me", headers=token).json() == {"name": "anna", "role": "viewer", "cameras": ["yard"]}
    assert "sightline accounts add" not in client.get("/login", headers=HTML).text


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host"])
def test_while_nothing_is_locked_a_proxy_gets_nothing_for_those_behind_it(client: TestClient, header: str) -> None:
    reply = client.get("/api/v1/cameras", headers={header: "203.0.113.9"})
    assert reply.status_code == 400 and "proxy" in reply.json()["error"]["found"]


def test_a_removed_or_changed_account_counts_with_the_next_request(deps: ApiDependencies) -> None:
    token, client = add_account(deps, "anna", Role.INVESTIGATOR), browser(deps)
    add_account(deps, "root", Role.ADMIN)
    assert client.get("/api/v1/corrections", headers=token).status_code == 200
    account = deps.accounts.account("anna")
    assert account is not None
    deps.accounts.change_account(dataclasses.replace(account, role=Role.VIEWER))
    assert client.get("/api/v1/corrections", headers=token).status_code == 403
    deps.accounts.remove_account("anna")
    assert client.get("/api/v1/cameras", headers=token).status_code == 401


class AwayAccounts(SqlAccounts):
    """Accounts whose database goes away."""

    is_away = False

    def has_accounts(self) -> bool:
        self._answer()
        return super().has_accounts()

    def account_of_token(self, digest: str, now: float) -> Account | None:
        self._answer()
        return super().account_of_token(digest, now)

    def _answer(self) -> None:
        if self.is_away:
            raise Unavailable("the database does not answer")


@pytest.mark.parametrize("token", [None, "t" * 20])
def test_health_is_told_while_the_database_is_away_and_nobody_is_let_in(
    deps: ApiDependencies, site: SmallSite, token: str | None
) -> None:
    accounts = AwayAccounts(site.store._database)
    app = create_app(dataclasses.replace(deps, token=token, accounts=accounts))
    client = TestClient(app, base_url="http://localhost")
    accounts.is_away = True
    assert client.get("/healthz").status_code == 200
    assert client.get("/api/v1/cameras", headers={"Authorization": "Bearer x"}).status_code == 503


def test_a_crop_that_a_browser_keeps_is_for_this_login_alone(deps: ApiDependencies, client: TestClient) -> None:
    crop = client.get(client.get("/api/v1/identities/1").json()["crops"][0])
    assert crop.headers["vary"] == "Cookie, Authorization" and "private" in crop.headers["cache-control"]


def test_there_is_no_way_around_the_gate_by_a_websocket(deps: ApiDependencies) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), TestClient(create_app(deps)).websocket_connect("ws://localhost/"):
        pass
