"""Logging in and out by a browser: sessions, forms, limits, and where no secret may turn up."""

from __future__ import annotations

import dataclasses
import logging

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from pipeline.accounts import Role
from pipeline.adapters.audit_store import AuditStore
from services.api.app import create_app
from services.api.callers import SESSION_COOKIE
from services.api.dependencies import ApiDependencies
from services.api.logins import LIMITS, network_of, own_path
from services.api.passwords import Passwords
from tests.fakes import HandClock
from tests.services.api.people import HTML, PASSWORD, add_account, browser, form_mark, logged_in
from tests.small_site import SmallSite

TOKEN = "the-token-of-the-settings"
WRONG = "a wrong password that nobody may see"


@pytest.fixture
def anna(deps: ApiDependencies) -> TestClient:
    add_account(deps, "anna", Role.INVESTIGATOR)
    return logged_in(deps, "anna")


def actions(deps: ApiDependencies) -> list[tuple[str, str]]:
    assert isinstance(deps.audit, AuditStore)
    return [(entry.actor, entry.action) for entry in deps.audit.entries()]


def test_a_browser_logs_in_sees_its_name_and_logs_out(deps: ApiDependencies, anna: TestClient) -> None:
    page = anna.get("/", headers=HTML)
    assert page.status_code == 200 and "anna" in page.text and "investigator" in page.text
    out = anna.post("/logout", data={"csrf": form_mark(anna)})
    assert (out.status_code, out.headers["location"]) == (303, "/login")
    assert actions(deps)[0] == ("anna", "login") and actions(deps)[-1] == ("anna", "logout")
    assert anna.get("/", headers=HTML).status_code == 303


def test_after_the_logout_the_cookie_is_worth_nothing(anna: TestClient) -> None:
    kept = anna.cookies[SESSION_COOKIE]
    anna.post("/logout", data={"csrf": form_mark(anna)})
    assert anna.get("/api/v1/me", headers={"Cookie": f"{SESSION_COOKIE}={kept}"}).status_code == 401


def test_every_login_begins_a_session_and_ends_the_one_before(anna: TestClient) -> None:
    first = anna.cookies[SESSION_COOKIE]
    anna.post("/login", data={"name": "anna", "password": PASSWORD})
    second = anna.cookies[SESSION_COOKIE]
    assert first != second
    anna.cookies.clear()
    assert anna.get("/api/v1/me", headers={"Cookie": f"{SESSION_COOKIE}={first}"}).status_code == 401
    assert anna.get("/api/v1/me", headers={"Cookie": f"{SESSION_COOKIE}={second}"}).status_code == 200


def test_a_session_that_somebody_planted_is_not_taken_over(deps: ApiDependencies) -> None:
    add_account(deps, "anna", Role.ADMIN)
    client = browser(deps)
    client.cookies.set(SESSION_COOKIE, "planted")
    client.post("/login", data={"name": "anna", "password": PASSWORD})
    assert client.get("/api/v1/me", headers={"Cookie": f"{SESSION_COOKIE}=planted"}).status_code == 401


def test_a_session_ends_by_itself(deps: ApiDependencies, anna: TestClient) -> None:
    assert isinstance(deps.clock, HandClock)
    deps.clock.sleep(deps.session_s - 1)
    assert anna.get("/api/v1/me").status_code == 200
    deps.clock.sleep(1)
    assert anna.get("/api/v1/me").status_code == 401


def test_sessions_of_the_token_end_when_it_is_another_one(deps: ApiDependencies) -> None:
    client = browser(dataclasses.replace(deps, token=TOKEN))
    assert client.post("/login", data={"token": TOKEN}).status_code == 303
    assert client.get("/api/v1/me").json()["name"] == "the api token"
    cookie = {"Cookie": f"{SESSION_COOKIE}={client.cookies[SESSION_COOKIE]}"}
    other = browser(dataclasses.replace(deps, token="another token"))
    assert other.get("/api/v1/me", headers=cookie).status_code == 401


@pytest.mark.parametrize(
    ("address", "is_secure"), [("http://cameras.example", False), ("https://cameras.example", True)]
)
def test_the_cookie_is_for_this_page_alone(deps: ApiDependencies, address: str, is_secure: bool) -> None:
    add_account(deps, "anna", Role.VIEWER)
    client = TestClient(create_app(deps), base_url=address, follow_redirects=False)
    cookie = client.post("/login", data={"name": "anna", "password": PASSWORD}).headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and ("secure" in cookie) is is_secure


# --- forms of other sites ---------------------------------------------------------------------------------------------

CORRECTION = {"kind": "merge", "global_ids": [1, 2], "made_by": "anna"}


@pytest.mark.parametrize("mark", ["", "0" * 64, "ümlaut"])
@pytest.mark.parametrize("path", ["/logout", "/"])
def test_a_form_without_the_mark_of_the_session_changes_nothing(anna: TestClient, path: str, mark: str) -> None:
    reply = anna.post(path, data={"csrf": mark, "q": "red"})
    assert reply.status_code == 403 and "csrf" in reply.json()["error"]["expected"]
    assert anna.get("/api/v1/me").status_code == 200


def test_a_script_of_ours_sends_the_mark_as_a_header(anna: TestClient, deps: ApiDependencies) -> None:
    assert anna.post("/api/v1/corrections", json=CORRECTION).status_code == 403
    mark = {"X-CSRF-Token": form_mark(anna)}
    assert anna.post("/api/v1/corrections", json=CORRECTION, headers=mark).status_code == 202
    foreign = mark | {"Sec-Fetch-Site": "cross-site"}
    assert anna.post("/api/v1/corrections", json=CORRECTION, headers=foreign).status_code == 403
    assert deps.corrections.correction(2) is None


def test_the_mark_of_another_session_does_not_do(deps: ApiDependencies, anna: TestClient) -> None:
    mark = form_mark(logged_in(deps, "anna"))
    assert anna.post("/logout", data={"csrf": mark}).status_code == 403


def test_the_search_form_of_our_page_is_answered(anna: TestClient) -> None:
    sent = anna.post("/", data={"csrf": form_mark(anna), "q": "red coat"})
    assert (sent.status_code, sent.headers["location"]) == (303, "/?q=red+coat")


def test_nobody_can_log_a_browser_in_from_another_site(deps: ApiDependencies) -> None:
    add_account(deps, "mallory", Role.VIEWER)
    reply = browser(deps).post(
        "/login", data={"name": "mallory", "password": PASSWORD}, headers={"Origin": "https://evil.example"}
    )
    assert reply.status_code == 403 and "set-cookie" not in reply.headers


# --- limits -----------------------------------------------------------------------------------------------------------


def tried(client: TestClient, name: str, password: str = WRONG) -> int:
    status: int = client.post("/login", data={"name": name, "password": password}).status_code
    return status


def test_after_a_few_wrong_passwords_even_the_right_one_waits(deps: ApiDependencies) -> None:
    add_account(deps, "anna", Role.VIEWER)
    client = browser(deps)
    assert [tried(client, "anna") for _ in range(LIMITS.of_name_and_address + 1)] == [401] * 5 + [429]
    refused = client.post("/login", data={"name": "anna", "password": PASSWORD})
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) == LIMITS.window_s
    assert isinstance(deps.clock, HandClock)
    deps.clock.sleep(LIMITS.window_s)
    assert tried(client, "anna", PASSWORD) == 303


def test_nobody_is_locked_out_by_somebody_elsewhere_who_knows_the_name(deps: ApiDependencies) -> None:
    add_account(deps, "anna", Role.VIEWER)
    app = create_app(dataclasses.replace(deps, host="0.0.0.0"))
    attacker = TestClient(app, base_url="http://cameras.example", client=("203.0.113.9", 1))
    owner = TestClient(app, base_url="http://cameras.example", client=("192.0.2.5", 1), follow_redirects=False)
    assert [tried(attacker, "anna") for _ in range(6)][-1] == 429
    assert tried(owner, "anna", PASSWORD) == 303


def test_an_address_cannot_go_through_many_names(deps: ApiDependencies) -> None:
    add_account(deps, "anna", Role.VIEWER)
    client = browser(deps)
    statuses = [tried(client, f"name{number}") for number in range(LIMITS.of_address + 1)]
    assert statuses == [401] * LIMITS.of_address + [429]


def test_success_forgives_earlier_mistakes(deps: ApiDependencies) -> None:
    add_account(deps, "anna", Role.VIEWER)
    client = browser(deps)
    for _ in range(3):
        assert [tried(client, "anna") for _ in range(4)] == [401] * 4
        assert tried(client, "anna", PASSWORD) == 303


def test_an_unknown_name_is_refused_like_a_wrong_password_and_costs_the_same(deps: ApiDependencies) -> None:
    verified: list[str] = []

    class Counting(Passwords):
        def fits(self, password: str, password_hash: str | None) -> bool:
            verified.append("work")
            return super().fits(password, password_hash)

    add_account(deps, "anna", Role.VIEWER)
    client = browser(dataclasses.replace(deps, passwords=Counting()))
    replies = [client.post("/login", data={"name": name, "password": WRONG}) for name in ("anna", "nobody")]
    assert replies[0].status_code == replies[1].status_code == 401
    assert replies[0].text == replies[1].text
    assert len(verified) == 2


def test_an_account_without_a_password_is_let_in_by_none(deps: ApiDependencies) -> None:
    add_account(deps, "anna", Role.VIEWER)
    assert not deps.passwords.fits("", None) and not deps.passwords.fits(PASSWORD, None)
    assert [tried(browser(deps), "anna", password) for password in ("", "x" * 300)] == [401, 401]


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.5", "192.0.2.5"),
        ("::ffff:192.0.2.5", "192.0.2.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
        (None, "unknown"),
    ],
)
def test_attempts_are_counted_by_address_or_network(host: str | None, network: str) -> None:
    assert network_of(host) == network


# --- where to go afterwards -------------------------------------------------------------------------------------------


def test_a_deep_link_is_kept_over_the_login(deps: ApiDependencies) -> None:
    add_account(deps, "anna", Role.VIEWER)
    client = browser(deps)
    sent = client.get("/people/3", headers=HTML)
    assert sent.headers["location"] == "/login?next=%2Fpeople%2F3"
    assert 'value="/people/3"' in client.get(sent.headers["location"]).text
    done = client.post("/login", data={"name": "anna", "password": PASSWORD, "next": "/people/3"})
    assert done.headers["location"] == "/people/3"


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "javascript:alert(1)",
    "/ok\r\nSet-Cookie: x=1",
    "evil.example",
    " //evil.example",
    "http:/evil.example",
    "///evil.example",
    "",
]


@pytest.mark.parametrize("wanted", ELSEWHERE)
def test_the_login_leads_to_no_other_site(deps: ApiDependencies, wanted: str) -> None:
    add_account(deps, "anna", Role.VIEWER)
    done = browser(deps).post("/login", data={"name": "anna", "password": PASSWORD, "next": wanted})
    assert done.headers["location"] == "/" and own_path(wanted) == "/"


@given(st.text(max_size=20).map(lambda rest: "/" + rest) | st.text(max_size=20))
def test_whatever_is_wanted_the_path_is_ours(wanted: str) -> None:
    path = own_path(wanted)
    assert path.startswith("/") and not path.startswith(("//", "/\\"))
    assert path.isprintable() and path.isascii()


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_no_log_no_answer_and_no_record_holds_a_secret(
    deps: ApiDependencies, site: SmallSite, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = add_account(deps, "anna", Role.ADMIN)["Authorization"].removeprefix("Bearer ")
    guarded = dataclasses.replace(deps, token=TOKEN)
    client = browser(guarded)
    long = "p" * 1200
    replies = [
        client.post("/login", data={"name": "anna", "password": WRONG}),
        client.post("/login", data={"name": WRONG, "password": "x"}),
        client.post("/login", data={"name": "anna", "password": long}),
        client.post("/login", data={"token": WRONG}),
        client.post("/login", json={"name": "anna", "password": PASSWORD}),
        client.post("/login", data={"token": TOKEN}),
        client.post("/login", data={"name": "anna", "password": PASSWORD}),
        client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"}),
        client.get("/api/v1/me", headers={"Authorization": f"Bearer {WRONG}"}),
        client.get("/nowhere", headers={"Authorization": f"Bearer {TOKEN}"}),
    ]
    told = "".join(reply.text for reply in replies)
    assert isinstance(deps.audit, AuditStore)
    recorded = "".join(entry.line() for entry in deps.audit.entries())
    session = client.cookies[SESSION_COOKIE]
    held = f"{guarded!r} {deps.accounts.accounts()!r}"
    with site.store._database.reading() as connection:
        tables = ("accounts", "api_tokens", "sessions", "login_attempts")
        kept = str([connection.exec_driver_sql(f"SELECT * FROM {table}").all() for table in tables])
    places = {"answer": told, "log": caplog.text, "audit": recorded, "repr": held, "database": kept}
    for secret in (PASSWORD, WRONG, TOKEN, token, session, "p" * 60):
        for place, text in places.items():
            assert secret not in text, f"{secret} in the {place}"
