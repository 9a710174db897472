"""Accounts and their tokens in the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, Row, delete, exists, literal, or_, select, update

from pipeline.accounts import Account, Role, UnknownAccount
from pipeline.adapters.schema import accounts, api_tokens, sessions
from pipeline.adapters.session_store import SessionStore
from pipeline.contracts import CameraId
from pipeline.errors import InvalidQuery

_ACCOUNT: tuple[Column[Any], ...] = tuple(accounts.c[name] for name in ("name", "role", "added_at", "camera_ids"))


class SqlAccounts(SessionStore):
    """`AccountStore` on SQLite or PostgreSQL. Safe to use from many threads."""

    def has_accounts(self) -> bool:
        with self._database.reading() as connection:
            return bool(connection.execute(select(exists(select(literal(1)).select_from(accounts)))).scalar_one())

    def accounts(self) -> list[Account]:
        with self._database.reading() as connection:
            return [_account(row) for row in connection.execute(select(*_ACCOUNT).order_by(accounts.c.name))]

    def account(self, name: str) -> Account | None:
        with self._database.reading() as connection:
            row = connection.execute(select(*_ACCOUNT).where(accounts.c.name == name)).one_or_none()
        return None if row is None else _account(row)

    def add_account(self, account: Account, password_hash: str | None) -> None:
        row = _values(account) | {"name": account.name, "added_at": account.added_at, "password_hash": password_hash}
        with self._database.writing() as connection:
            if connection.execute(select(accounts.c.name).where(accounts.c.name == account.name)).first() is not None:
                raise InvalidQuery(
                    f"there is an account {account.name!r} already", "a new name", "choose another, or change that one"
                )
            connection.execute(accounts.insert(), row)

    def change_account(self, account: Account) -> None:
        self._change(account.name, _values(account))

    def remove_account(self, name: str) -> None:
        with self._database.writing() as connection:
            connection.execute(delete(api_tokens).where(api_tokens.c.name == name))
            connection.execute(delete(sessions).where(sessions.c.name == name))
            if connection.execute(delete(accounts).where(accounts.c.name == name)).rowcount == 0:
                raise UnknownAccount(name)

    def password_hash(self, name: str) -> str | None:
        with self._database.reading() as connection:
            query = select(accounts.c.password_hash).where(accounts.c.name == name)
            found: str | None = connection.execute(query).scalar_one_or_none()
        return found

    def set_password(self, name: str, password_hash: str) -> None:
        self._change(name, {"password_hash": password_hash}, ends_sessions=True)

    def add_token(self, name: str, digest: str, made_at: float, expires_at: float | None) -> None:
        row = {"digest": digest, "name": name, "made_at": made_at, "expires_at": expires_at}
        with self._database.writing() as connection:
            _refuse_unknown(connection, name)
            connection.execute(api_tokens.insert(), row)

    def remove_tokens(self, name: str) -> int:
        with self._database.writing() as connection:
            _refuse_unknown(connection, name)
            return connection.execute(delete(api_tokens).where(api_tokens.c.name == name)).rowcount

    def account_of_token(self, digest: str, now: float) -> Account | None:
        is_valid = or_(api_tokens.c.expires_at.is_(None), api_tokens.c.expires_at > now)
        query = select(*_ACCOUNT).join(api_tokens, api_tokens.c.name == accounts.c.name)
        with self._database.reading() as connection:
            row = connection.execute(query.where(api_tokens.c.digest == digest, is_valid)).one_or_none()
        return None if row is None else _account(row)

    def _change(self, name: str, values: dict[str, Any], ends_sessions: bool = False) -> None:
        with self._database.writing() as connection:
            if connection.execute(update(accounts).where(accounts.c.name == name).values(values)).rowcount == 0:
                raise UnknownAccount(name)
            if ends_sessions:
                connection.execute(delete(sessions).where(sessions.c.name == name))


def _refuse_unknown(connection: Connection, name: str) -> None:
    if connection.execute(select(accounts.c.name).where(accounts.c.name == name)).first() is None:
        raise UnknownAccount(name)


def _values(account: Account) -> dict[str, Any]:
    return {"role": account.role.value, "camera_ids": sorted(account.camera_ids)}


def _account(row: Row[Any]) -> Account:
    cameras = frozenset(CameraId(name) for name in row.camera_ids)
    return Account(row.name, Role(row.role), row.added_at, cameras)
