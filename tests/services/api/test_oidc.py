"""Logging in by an identity provider: what is believed, and what is not."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

pytest.importorskip("authlib", reason="no client for identity providers is installed: pip install 'sightline[oidc]'")
from joserfc.jwk import OctKey, RSAKey
from starlette.responses import Response

from pipeline.accounts import Account, Role
from pipeline.adapters.audit_store import AuditStore
from pipeline.contracts import CameraId
from pipeline.errors import Unavailable
from services.api import oidc
from services.api.callers import SESSION_COOKIE
from services.api.dependencies import ApiDependencies
from services.api.logins import LIMITS
from services.api.oidc import IdentityProvider, ProviderConfig, highest_role
from tests.services.api.fake_provider import CLIENT, ISSUER, PAGE, SECRET, FakeProvider
from tests.services.api.people import HTML, browser

ROLES = {"guards": Role.VIEWER, "detectives": Role.INVESTIGATOR, "it": Role.ADMIN}


@pytest.fixture(scope="module")
def key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "1"})


@pytest.fixture
def provider(key: RSAKey) -> FakeProvider:
    return FakeProvider(key=key)


def guarded(deps: ApiDependencies, provider: FakeProvider, **changes: Any) -> ApiDependencies:
    config = ProviderConfig(ISSUER, CLIENT, SECRET, PAGE, ROLES, **changes)
    return dataclasses.replace(deps, provider=IdentityProvider(config, provider.client()))


@pytest.fixture
def client(deps: ApiDependencies, provider: FakeProvider) -> TestClient:
    opened = browser(guarded(deps, provider))
    opened.base_url = opened.base_url.copy_with(scheme="https")
    return opened


def come_back(client: TestClient, provider: FakeProvider) -> Response:
    begun = client.get("/login/provider")
    assert begun.status_code == 303
    reply: Response = client.get("/login/callback", params=provider.visit(begun.headers["location"]))
    return reply


def test_somebody_is_let_in_by_the_word_of_the_provider(
    client: TestClient, deps: ApiDependencies, provider: FakeProvider
) -> None:
    assert "idp.example" in client.get("/login", headers=HTML).text
    reply = come_back(client, provider)
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    cookie = reply.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and "secure" in cookie
    assert client.get("/api/v1/me").json() == {"name": "oidc/anna", "role": "viewer", "cameras": []}
    assert isinstance(deps.audit, AuditStore)
    entry = deps.audit.newest(1)[0]
    assert (entry.actor, entry.action) == ("oidc/anna", "login") and '"way":"provider"' in entry.detail


def test_the_role_follows_the_provider_and_granted_cameras_stay(
    client: TestClient, deps: ApiDependencies, provider: FakeProvider
) -> None:
    come_back(client, provider)
    known = deps.accounts.account("oidc/anna")
    assert known is not None
    deps.accounts.change_account(dataclasses.replace(known, camera_ids=frozenset({CameraId("lobby")})))
    come_back(client, provider)
    assert client.get("/api/v1/me").json()["cameras"] == ["lobby"]
    provider.claims["groups"] = ["guards", "detectives", "unheard"]
    come_back(client, provider)
    assert client.get("/api/v1/me").json()["role"] == "investigator"


def test_a_name_at_the_provider_is_never_an_account_of_this_site(
    client: TestClient, deps: ApiDependencies, provider: FakeProvider
) -> None:
    deps.accounts.add_account(Account("anna", Role.ADMIN, 1.0), None)
    come_back(client, provider)
    assert client.get("/api/v1/me").json()["name"] == "oidc/anna"


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://evil.example"},
        {"aud": "another client"},
        {"aud": "another client", "azp": CLIENT},
        {"aud": [CLIENT, "another client"]},  # and no azp that names us
        {"exp": int(time.time()) - 600},
        {"iat": int(time.time()) + 6000},
        {"groups": []},
        {"groups": ["strangers"]},
        {"groups": {"guards": True}},
        {"sub": ""},
        {"sub": "an\nna"},
        {"sub": "x" * 96},
        {"sub": 7},
    ],
)
def test_a_word_that_does_not_hold_lets_nobody_in(
    client: TestClient, deps: ApiDependencies, provider: FakeProvider, wrong: dict[str, Any]
) -> None:
    provider.wrong = wrong
    assert come_back(client, provider).status_code == 401
    assert SESSION_COOKIE not in client.cookies and not deps.accounts.has_accounts()
    assert isinstance(deps.audit, AuditStore)
    assert deps.audit.newest(1)[0].action == "login refused"


def test_a_word_signed_by_somebody_else_lets_nobody_in(client: TestClient, provider: FakeProvider) -> None:
    provider.signs_with = RSAKey.generate_key(2048, {"kid": "1"})
    assert come_back(client, provider).status_code == 401


def test_a_word_signed_with_the_shared_secret_instead_of_a_key_lets_nobody_in(
    client: TestClient, provider: FakeProvider
) -> None:
    provider.algorithm, provider.signs_with = "HS256", OctKey.import_key(SECRET)
    assert come_back(client, provider).status_code == 401


def test_wrong_words_are_limited_like_wrong_passwords(client: TestClient, deps: ApiDependencies) -> None:
    statuses = [client.get("/login/callback").status_code for _ in range(LIMITS.of_name_and_address + 2)]
    assert statuses == [401] * LIMITS.of_name_and_address + [429, 429]
    assert isinstance(deps.audit, AuditStore)
    assert deps.audit.head().number == LIMITS.of_name_and_address, "what is refused unheard fills no log"


def test_keys_may_change_between_two_logins(client: TestClient, provider: FakeProvider) -> None:
    assert come_back(client, provider).status_code == 303
    provider.key = RSAKey.generate_key(2048, {"kid": "2"})
    assert come_back(client, provider).status_code == 303
    assert provider.asked.count("/keys") == 2 and provider.asked.count("/.well-known/openid-configuration") == 1


def test_only_the_browser_that_began_a_login_can_end_it_and_only_once(
    client: TestClient, deps: ApiDependencies, provider: FakeProvider
) -> None:
    answer = provider.visit(client.get("/login/provider").headers["location"])
    other = browser(guarded(deps, provider))
    assert other.get("/login/callback", params=answer).status_code == 401, "a link with somebody else's code"
    assert client.get("/login/callback", params=answer | {"state": "another"}).status_code == 401
    assert client.get("/login/callback", params={"state": answer["state"]}).status_code == 401
    kept = client.cookies["sightline_login"]
    assert client.get("/login/callback", params=answer).status_code == 303
    assert "sightline_login" not in client.cookies
    client.cookies.set("sightline_login", kept, path="/login")
    assert client.get("/login/callback", params=answer).status_code == 401, "a code is good once"


def test_a_code_is_worth_nothing_without_the_verifier_that_the_browser_kept(
    client: TestClient, provider: FakeProvider
) -> None:
    answer = provider.visit(client.get("/login/provider").headers["location"])
    state, nonce, _ = client.cookies["sightline_login"].split(".")
    client.cookies.clear()
    client.cookies.set("sightline_login", f"{state}.{nonce}.guessed", path="/login")
    assert client.get("/login/callback", params=answer).status_code == 401


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://idp.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": None},
    ],
)
def test_a_provider_that_is_another_one_or_not_encrypted_is_not_used(
    client: TestClient, provider: FakeProvider, metadata: dict[str, Any]
) -> None:
    provider.metadata = metadata
    assert client.get("/login/provider").status_code == 503


def test_while_the_provider_is_away_that_is_said_and_tried_again(client: TestClient, provider: FakeProvider) -> None:
    provider.is_away = True
    reply = client.get("/login/provider")
    assert reply.status_code == 503 and "idp.example" in reply.text and SECRET not in reply.text
    provider.is_away = False
    assert come_back(client, provider).status_code == 303


def test_a_provider_that_hangs_holds_few_threads(
    deps: ApiDependencies, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "_LONGEST_WAIT_S", 0.01)
    waiting = guarded(deps, provider).provider
    assert waiting is not None
    taken = [waiting._asking.acquire(timeout=0) for _ in range(5)]
    assert taken == [True] * 4 + [False]
    with pytest.raises(Unavailable, match="too many logins"):
        waiting.begin()
    waiting._asking.release()
    assert waiting.begin().address.startswith(ISSUER)


def test_without_a_provider_there_is_no_such_login(deps: ApiDependencies) -> None:
    opened = browser(dataclasses.replace(deps, token="t" * 20))
    assert opened.get("/login/provider").status_code == opened.get("/login/callback").status_code == 404


@pytest.mark.parametrize(
    ("claims", "path", "role"),
    [
        ({"groups": ["guards", "it"]}, "groups", Role.ADMIN),
        ({"groups": "guards"}, "groups", Role.VIEWER),
        ({"realm_access": {"roles": ["detectives"]}}, "realm_access.roles", Role.INVESTIGATOR),
        ({"groups": ["guards"]}, "realm_access.roles", None),
        ({"groups": [["guards"], None, 3]}, "groups", None),
        ({}, "groups", None),
    ],
)
def test_the_highest_role_that_a_claim_names_counts(claims: dict[str, Any], path: str, role: Role | None) -> None:
    assert highest_role(claims, path, ROLES) is role
