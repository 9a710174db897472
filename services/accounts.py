"""Accounts as the command line changes them; each change is recorded."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pipeline.accounts import Account, AccountStore, Role, UnknownAccount, checked_name
from pipeline.audit import AuditAction, AuditLog
from pipeline.contracts import CameraId
from pipeline.errors import InvalidQuery
from pipeline.interfaces import Clock
from services.api.callers import digest_of, new_secret
from services.api.passwords import Passwords
from services.audited import terminal_user
from services.settings import Settings

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class AccountDesk:
    """Adds, changes and removes accounts for `actor`. Nothing that it records or says holds a password or a token."""

    accounts: AccountStore
    audit: AuditLog
    clock: Clock
    passwords: Passwords
    actor: str

    def add(self, name: str, role: Role, password: str | None, cameras: Collection[str] = ()) -> Account:
        """Raises `InvalidQuery` for a name that is taken or none, a password that is too short, or useless cameras."""
        granted = frozenset(CameraId(camera) for camera in cameras)
        _refuse_useless(role, granted)
        account = Account(checked_name(name), role, self.clock.now(), granted)
        password_hash = None if password is None else self.passwords.hashed(password)
        self.accounts.add_account(account, password_hash)
        self._record("added", account)
        return account

    def set_password(self, name: str, password: str) -> None:
        """Ends the sessions of the account."""
        account = self._known(name)
        self.accounts.set_password(name, self.passwords.hashed(password))
        self._record("password changed", account)

    def set_role(self, name: str, role: Role) -> None:
        account = replace(self._known(name), role=role)
        self.accounts.change_account(account)
        self._record("role changed", account)

    def grant(self, name: str, cameras: Collection[str]) -> None:
        """The cameras that a viewer may see from now on, and no others."""
        account = replace(self._known(name), camera_ids=frozenset(CameraId(camera) for camera in cameras))
        _refuse_useless(account.role, account.camera_ids)
        self.accounts.change_account(account)
        self._record("cameras granted", account)

    def remove(self, name: str) -> None:
        account = self._known(name)
        self.accounts.remove_account(name)
        self._record("removed", account)

    def new_token(self, name: str, days: float) -> str:
        """A token with the rights of the account; it is told once, and only a digest is kept."""
        account, now, token = self._known(name), self.clock.now(), new_secret()
        self.accounts.add_token(name, digest_of(token), now, now + days * _DAY_S)
        self._record("token made", account)
        return token

    def revoke_tokens(self, name: str) -> int:
        account = self._known(name)
        count = self.accounts.remove_tokens(name)
        self._record("tokens revoked", account)
        return count

    def _known(self, name: str) -> Account:
        account = self.accounts.account(name)
        if account is None:
            raise UnknownAccount(name)
        return account

    def _record(self, change: str, account: Account) -> None:
        detail = {"change": change, "role": account.role.value, "cameras": sorted(account.camera_ids)}
        self.audit.record(self.actor, AuditAction.ACCOUNT, account.name, detail)


@contextmanager
def account_desk(settings: Settings) -> Iterator[AccountDesk]:
    """The desk of the user at this terminal."""
    from pipeline.adapters.clock import SystemClock
    from services.runtime import open_accounts

    accounts, audit = open_accounts(settings)
    try:
        yield AccountDesk(accounts, audit, SystemClock(), Passwords(), terminal_user())
    finally:
        accounts.close()


def _refuse_useless(role: Role, cameras: Collection[CameraId]) -> None:
    if cameras and role is not Role.VIEWER:
        raise InvalidQuery(
            f"cameras granted to {role.value}", "cameras for a viewer alone", "leave them out: this role sees them all"
        )
