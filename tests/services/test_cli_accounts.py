"""`sightline accounts` and `sightline audit`, on a database in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.accounts import Account, Role, UnknownAccount
from pipeline.adapters.account_store import SqlAccounts
from pipeline.adapters.database import Database
from pipeline.audit import BrokenChain
from pipeline.errors import ConfigurationError, InvalidQuery
from services.api.callers import digest_of
from services.api.passwords import Passwords
from services.audited import user_name
from services.cli import app

PASSWORD = "correct horse battery staple"
NEW = "another horse battery staple"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "300")
    return tmp_path


def sightline(folder: Path, *arguments: str, stdin: str = "") -> str:
    result = CliRunner().invoke(app, [*arguments, "--data-dir", str(folder)], input=stdin)
    if result.exception is not None:
        raise result.exception
    return result.output


def account(folder: Path, name: str) -> tuple[Account | None, str | None]:
    store = SqlAccounts(Database(f"sqlite:///{folder / 'sightline.db'}"))
    found = store.account(name), store.password_hash(name)
    store.close()
    return found


def test_an_account_is_added_changed_listed_and_removed(folder: Path) -> None:
    assert "There is no account" in sightline(folder, "accounts", "list")
    added = ("accounts", "add", "vera", "--role", "viewer", "--camera", "lobby", "--password-stdin")
    told = sightline(folder, *added, stdin=f"{PASSWORD}\n")
    found, password_hash = account(folder, "vera")
    assert found is not None and (found.role, found.camera_ids) == (Role.VIEWER, {"lobby"})
    assert Passwords().fits(PASSWORD, password_hash) and password_hash is not None
    assert password_hash.startswith("$argon2id$") and PASSWORD not in told
    sightline(folder, "accounts", "grant", "vera", "yard", "gate")
    listed = sightline(folder, "accounts", "list")
    assert "vera" in listed and "gate, yard" in listed and "lobby" not in listed
    sightline(folder, "accounts", "password", "vera", stdin=f"{NEW}\n{NEW}\n")
    assert Passwords().fits(NEW, account(folder, "vera")[1])
    sightline(folder, "accounts", "role", "vera", "investigator")
    assert "all" in sightline(folder, "accounts", "list")
    sightline(folder, "accounts", "remove", "vera")
    assert account(folder, "vera") == (None, None)


def test_a_token_is_printed_once_and_kept_as_a_digest(folder: Path) -> None:
    sightline(folder, "accounts", "add", "robot", "--role", "operator", "--no-password")
    token = sightline(folder, "accounts", "token", "robot", "--days", "1").strip()
    store = SqlAccounts(Database(f"sqlite:///{folder / 'sightline.db'}"))
    found = store.account_of_token(digest_of(token), 0.0)
    assert found is not None and found.name == "robot"
    assert store.account_of_token(digest_of(token), 4e9) is None, "after a day it is worth nothing"
    assert "1 tokens are revoked" in sightline(folder, "accounts", "token", "robot", "--revoke")
    assert store.account_of_token(digest_of(token), 0.0) is None
    store.close()
    assert token not in sightline(folder, "audit", "list")


def test_what_cannot_be_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidQuery, match="11 characters"):
        sightline(folder, "accounts", "add", "vera", "--role", "viewer", "--password-stdin", stdin="eleven long\n")
    with pytest.raises(InvalidQuery, match="'oidc/vera'"):
        sightline(folder, "accounts", "add", "oidc/vera", "--role", "viewer", "--no-password")
    with pytest.raises(InvalidQuery, match="sees them all"):
        sightline(folder, "accounts", "add", "vera", "--role", "admin", "--camera", "lobby", "--no-password")
    for arguments in (("remove", "nobody"), ("token", "nobody"), ("grant", "nobody"), ("role", "nobody", "admin")):
        with pytest.raises(UnknownAccount):
            sightline(folder, "accounts", *arguments)
    assert account(folder, "vera") == (None, None)


def test_every_change_is_recorded_by_the_user_of_this_machine_and_verified(folder: Path) -> None:
    sightline(folder, "accounts", "add", "vera", "--role", "viewer", "--password-stdin", stdin=f"{PASSWORD}\n")
    sightline(folder, "accounts", "grant", "vera", "yard")
    listed = sightline(folder, "audit", "list")
    assert f"terminal/{user_name()}" in listed and "cameras granted" in listed and PASSWORD not in listed
    head = sightline(folder, "audit", "head").strip()
    assert f"2 entries, none changed. Head: {head}" in sightline(folder, "audit", "verify")
    sightline(folder, "accounts", "remove", "vera")
    assert "3 entries" in sightline(folder, "audit", "verify", "--head", head)


def test_a_changed_or_shortened_record_is_noticed(folder: Path) -> None:
    sightline(folder, "accounts", "add", "vera", "--role", "viewer", "--no-password")
    sightline(folder, "accounts", "grant", "vera", "yard")
    head = sightline(folder, "audit", "head").strip()
    database = Database(f"sqlite:///{folder / 'sightline.db'}")
    with database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM audit WHERE number = 2")
    assert "1 entries, none changed" in sightline(folder, "audit", "verify")
    with pytest.raises(BrokenChain, match="it was cut"):
        sightline(folder, "audit", "verify", "--head", head)
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE audit SET actor = 'somebody else' WHERE number = 1")
    with pytest.raises(BrokenChain, match="entry 1 was changed"):
        sightline(folder, "audit", "verify")
    database.close()


def test_an_export_can_be_verified_without_the_database(folder: Path) -> None:
    sightline(folder, "accounts", "add", "vera", "--role", "viewer", "--no-password")
    file = folder / "audit.jsonl"
    told = sightline(folder, "audit", "export", str(file))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["action"] for line in lines] == ["account", "export"]
    assert (
        told.rpartition("Head: ")[2]
        == sightline(folder, "audit", "verify", "--file", str(file)).rpartition("Head: ")[2]
    )
    file.write_text(file.read_text().replace("vera", "bert"))
    with pytest.raises(BrokenChain, match="entry 1 was changed"):
        sightline(folder, "audit", "verify", "--file", str(file))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        sightline(folder, "audit", "verify", "--file", str(folder / "missing"))


def test_no_database_is_made_by_looking_for_its_record(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="no database"):
        sightline(folder, "audit", "list")
    assert not (folder / "sightline.db").exists()
