"""Who may talk to the API."""

from __future__ import annotations

import dataclasses

import pytest
from fastapi.testclient import TestClient

from pipeline.accounts import Account, Role
from pipeline.errors import ConfigurationError
from services.api.access import host_name
from services.api.app import create_app
from services.api.callers import SESSION_COOKIE
from services.api.dependencies import ApiDependencies
from services.api.exposure import require_login_off_localhost
from tests.small_site import NOW

TOKEN = "correct horse battery staple"


@pytest.fixture
def guarded(deps: ApiDependencies) -> TestClient:
    app = create_app(dataclasses.replace(deps, token=TOKEN, host="0.0.0.0"))
    return TestClient(app, base_url="http://cameras.example", follow_redirects=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_needs_no_login(host: str) -> None:
    require_login_off_localhost(host, can_log_in=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "127.0.0.1.example.com", ""])
def test_a_network_needs_a_token_or_an_account(host: str, deps: ApiDependencies) -> None:
    with pytest.raises(ConfigurationError, match="SIGHTLINE_API__TOKEN"):
        create_app(dataclasses.replace(deps, host=host, token=""))
    create_app(dataclasses.replace(deps, host=host, token=TOKEN))
    deps.accounts.add_account(Account("anna", Role.ADMIN, NOW), None)
    create_app(dataclasses.replace(deps, host=host))


@pytest.mark.parametrize(
    "path", ["/api/v1/search?q=red", "/api/v1/cameras", "/api/v1/openapi.json", "/metrics", "/readyz", "/"]
)
def test_without_the_token_nothing_is_told(guarded: TestClient, path: str) -> None:
    reply = guarded.get(path)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert "Bearer" in reply.json()["error"]["expected"]


@pytest.mark.parametrize(
    "authorization",
    ["Bearer wrong", "Bearer", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ümlaut"],
)
def test_a_wrong_token_is_refused(guarded: TestClient, authorization: str) -> None:
    headers = {"Authorization": authorization.encode()}
    assert guarded.get("/api/v1/cameras", headers=headers).status_code == 401


def test_the_token_opens_everything(guarded: TestClient) -> None:
    reply = guarded.get("/api/v1/search?q=red", headers={"Authorization": f"Bearer {TOKEN}"})
    assert reply.status_code == 200 and reply.json()["people"]


def test_health_and_the_style_of_the_login_page_are_open(guarded: TestClient) -> None:
    assert guarded.get("/healthz").status_code == 200
    assert guarded.get("/static/style.css").status_code == 200
    assert guarded.get("/static/../main.py").status_code != 200


def test_a_browser_is_sent_to_the_login_and_let_in_by_the_cookie(guarded: TestClient) -> None:
    refused = guarded.get("/", headers={"Accept": "text/html"})
    assert (refused.status_code, refused.headers["location"]) == (303, "/login")
    assert guarded.get("/login").status_code == 200
    wrong = guarded.post("/login", data={"token": "guess"})
    assert wrong.status_code == 401 and SESSION_COOKIE not in wrong.cookies
    right = guarded.post("/login", data={"token": TOKEN})
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and TOKEN not in right.headers["set-cookie"]
    assert guarded.get("/", headers={"Accept": "text/html"}).status_code == 200


@pytest.mark.parametrize(
    "cookie", [f"{SESSION_COOKIE}=guess", f"{SESSION_COOKIE}={TOKEN}", f"{SESSION_COOKIE}=", "; ;=,"]
)
def test_a_wrong_cookie_is_refused(guarded: TestClient, cookie: str) -> None:
    assert guarded.get("/api/v1/cameras", headers={"Cookie": cookie}).status_code == 401


def test_without_a_token_another_host_name_is_refused(client: TestClient) -> None:
    reply = client.get("/api/v1/cameras", headers={"Host": "attacker.example:8000"})
    assert reply.status_code == 400
    assert "attacker.example" in reply.json()["error"]["found"]
    assert client.get("/healthz", headers={"Host": "127.0.0.1:8000"}).status_code == 200
    assert client.get("/healthz", headers={"Host": "[::1]:8000"}).status_code == 200


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:80", "localhost"),
        ("[::1]:80", "::1"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("", ""),
    ],
)
def test_the_name_is_read_from_the_host_header(header: str, name: str) -> None:
    assert host_name(header) == name


@pytest.mark.parametrize("path", ["/", "/api/v1/cameras", "/nowhere", "/static/style.css"])
def test_every_answer_carries_the_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_answers_about_people_are_kept_by_no_cache_and_the_style_is(client: TestClient) -> None:
    assert client.get("/").headers["cache-control"] == "no-store"
    assert client.get("/api/v1/search?q=red").headers["cache-control"] == "no-store"
    assert "max-age" in client.get("/static/style.css").headers["cache-control"]
