"""Accounts, tokens, sessions and attempts to log in: the same on every database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.accounts import Account, LoginLimits, Role, Session, UnknownAccount
from pipeline.adapters.account_store import SqlAccounts
from pipeline.adapters.store import SqlStore
from pipeline.contracts import BlobKey, CameraId, GlobalId
from pipeline.decisions import Decision
from pipeline.errors import InvalidQuery
from tests.fakes import crop, embedding, tracklet

NOW = 1_700_000_000.0
ANNA = Account("anna", Role.VIEWER, NOW, frozenset({CameraId("lobby"), CameraId("yard")}))
LIMITS = LoginLimits(window_s=60.0, of_name_and_address=2, of_address=3)


@pytest.fixture
def accounts(store: SqlStore) -> SqlAccounts:
    return SqlAccounts(store._database)


def test_an_account_comes_back_as_it_was_added(accounts: SqlAccounts) -> None:
    assert not accounts.has_accounts() and accounts.account("anna") is None
    accounts.add_account(ANNA, "hash")
    accounts.add_account(bo := Account("bo", Role.ADMIN, NOW + 1), None)
    assert accounts.has_accounts()
    assert accounts.accounts() == [ANNA, bo] and accounts.account("anna") == ANNA
    assert (accounts.password_hash("anna"), accounts.password_hash("bo")) == ("hash", None)


def test_a_name_is_given_once_and_an_unknown_one_is_named(accounts: SqlAccounts) -> None:
    accounts.add_account(ANNA, "hash")
    with pytest.raises(InvalidQuery, match="'anna' already"):
        accounts.add_account(Account("anna", Role.ADMIN, NOW), "other")
    assert accounts.account("anna") == ANNA
    for change in (
        lambda: accounts.change_account(Account("bo", Role.ADMIN, NOW)),
        lambda: accounts.set_password("bo", "x"),
        lambda: accounts.remove_account("bo"),
        lambda: accounts.add_token("bo", "d", NOW, None),
        lambda: accounts.remove_tokens("bo"),
    ):
        with pytest.raises(UnknownAccount, match="'bo'"):
            change()


def test_tokens_are_the_account_until_they_expire_or_go(accounts: SqlAccounts) -> None:
    accounts.add_account(ANNA, None)
    accounts.add_token("anna", "a" * 64, NOW, None)
    accounts.add_token("anna", "b" * 64, NOW, NOW + 10)
    assert accounts.account_of_token("a" * 64, NOW) == accounts.account_of_token("b" * 64, NOW) == ANNA
    assert accounts.account_of_token("b" * 64, NOW + 10) is None and accounts.account_of_token("c" * 64, NOW) is None
    accounts.change_account(narrower := Account("anna", Role.VIEWER, NOW))
    assert accounts.account_of_token("a" * 64, NOW) == narrower
    assert accounts.remove_tokens("anna") == 2 and accounts.account_of_token("a" * 64, NOW) is None


def test_a_session_ends_by_time_by_logout_by_a_new_password_and_with_its_account(accounts: SqlAccounts) -> None:
    accounts.add_account(ANNA, "hash")
    digests = ["a" * 64, "b" * 64, "c" * 64]
    for digest in digests:
        accounts.open_session(Session(digest, NOW + 60, name="anna"), NOW)
    assert accounts.session(digests[0], NOW) == Session(digests[0], NOW + 60, name="anna")
    assert accounts.session(digests[0], NOW + 60) is None
    accounts.close_session(digests[0])
    assert [accounts.session(digest, NOW) is None for digest in digests] == [True, False, False]
    accounts.set_password("anna", "new")
    assert [accounts.session(digest, NOW) is None for digest in digests] == [True, True, True]
    accounts.open_session(Session(digests[0], NOW + 60, name="anna"), NOW)
    accounts.add_token("anna", "t" * 64, NOW, None)
    accounts.remove_account("anna")
    assert accounts.session(digests[0], NOW) is None and accounts.account_of_token("t" * 64, NOW) is None


def test_expired_sessions_are_forgotten_and_one_may_belong_to_a_token(accounts: SqlAccounts, store: SqlStore) -> None:
    accounts.open_session(Session("a" * 64, NOW + 1, token_digest="t" * 64), NOW)
    accounts.open_session(Session("b" * 64, NOW + 9, token_digest="t" * 64), NOW + 1)
    with store._database.reading() as connection:
        assert connection.exec_driver_sql("SELECT digest FROM sessions").scalars().all() == ["b" * 64]
    assert accounts.session("b" * 64, NOW + 1) == Session("b" * 64, NOW + 9, token_digest="t" * 64)


def test_attempts_are_limited_by_name_and_address_and_by_address(accounts: SqlAccounts) -> None:
    assert [accounts.begin_login("10.0.0.1", "anna", NOW, LIMITS) for _ in range(3)] == [True, True, False]
    assert accounts.begin_login("10.0.0.1", "bo", NOW, LIMITS)
    assert not accounts.begin_login("10.0.0.1", "cy", NOW, LIMITS), "three attempts from one address"
    assert accounts.begin_login("10.0.0.2", "anna", NOW, LIMITS), "nobody is locked out by the name alone"


def test_attempts_at_the_same_time_are_limited_all_the_same(accounts: SqlAccounts, store: SqlStore) -> None:
    if store._database.shown_url == "sqlite://":
        pytest.skip("a database in memory has but one connection")
    with ThreadPoolExecutor(8) as pool:
        passed = list(pool.map(lambda _: accounts.begin_login("10.0.0.1", "anna", NOW, LIMITS), range(16)))
    assert sum(passed) == LIMITS.of_name_and_address


def test_attempts_are_forgotten_after_a_while_or_when_one_succeeds(accounts: SqlAccounts, store: SqlStore) -> None:
    for _ in range(3):
        accounts.begin_login("10.0.0.1", "anna", NOW, LIMITS)
    assert not accounts.begin_login("10.0.0.1", "anna", NOW + 59, LIMITS)
    assert accounts.begin_login("10.0.0.1", "anna", NOW + 60, LIMITS)
    accounts.begin_login("10.0.0.1", "anna", NOW + 60, LIMITS)
    accounts.forgive_logins("10.0.0.1", "anna")
    assert accounts.begin_login("10.0.0.1", "anna", NOW + 60, LIMITS)
    with store._database.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM login_attempts").scalar_one() == 1


def test_the_cameras_of_a_crop_are_all_where_it_was_taken(store: SqlStore) -> None:
    taken = crop(b"four")
    for number, camera in enumerate(("gate", "hall")):
        store.archive_tracklet(tracklet(number, taken, camera_id=camera))
    assert store.cameras_of_crop(taken.key) == {"gate", "hall"}
    assert store.cameras_of_crop(BlobKey("0" * 40)) == frozenset()
    assert store.persons_of_crop(taken.key) == frozenset()


def test_the_persons_of_a_crop_are_those_who_are_decided_about(store: SqlStore) -> None:
    taken = crop(b"four")
    for number in (1, 2, 3):
        store.archive_tracklet(tracklet(number, taken))
    for number in (1, 2):
        seen = embedding(track_id=number)
        store.commit_decisions([Decision(seen, GlobalId(number), True, 0.9, "test")], NOW)
    assert store.persons_of_crop(taken.key) == {1, 2}
