"""Logging in and out: by a password, by the token of the settings, or by an identity provider; each is recorded."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pipeline import metrics
from pipeline.accounts import Account, AccountStore, LoginLimits, Role, Session
from pipeline.audit import AuditAction, AuditLog
from pipeline.errors import InvalidQuery
from pipeline.interfaces import Clock
from services.api.callers import TOKEN_NAME, Caller, digest_of, is_same, new_secret
from services.api.passwords import Passwords

LIMITS = LoginLimits()
_UNKNOWN = "an unknown account"
_BY_PROVIDER = "somebody by the provider"
_V6_NETWORK = 64  # one customer has at least so many addresses


class WrongLogin(InvalidQuery):
    """Not the right name and password, token, or word of the identity provider."""


class TooManyLogins(InvalidQuery):
    """Too many attempts have failed. `wait_s` is how long until all of them are forgotten."""

    def __init__(self, wait_s: float) -> None:
        minutes = round(wait_s / 60)
        super().__init__(
            "too many attempts from this address", "few that fail", f"wait {minutes} minutes, then try again"
        )
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Vouched:
    """Who somebody is by the word of an identity provider."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class LoginDesk:
    """Opens and closes sessions. What it returns is for the browser alone; the database keeps a digest."""

    accounts: AccountStore
    audit: AuditLog
    clock: Clock
    passwords: Passwords
    token: str | None = field(repr=False)
    session_s: float
    limits: LoginLimits = LIMITS

    def by_password(self, name: str, password: str, address: str) -> str:
        """A new session. Raises `WrongLogin` and `TooManyLogins`, which tell nobody whether the account exists."""
        attempt = self._begin(name, address)
        account = self.accounts.account(name)
        if not self.passwords.fits(password, self.accounts.password_hash(name)) or account is None:
            raise self._refused(account.name if account else _UNKNOWN, address, "password")
        self.accounts.forgive_logins(address, attempt)
        return self._opened(account.name, address, "password", name=account.name)

    def by_token(self, given: str, address: str) -> str:
        """A new session with all rights, for the token of the settings."""
        attempt = self._begin(TOKEN_NAME, address)
        if not self.token or not is_same(given, self.token):
            raise self._refused(TOKEN_NAME, address, "token")
        self.accounts.forgive_logins(address, attempt)
        return self._opened(TOKEN_NAME, address, "token", token_digest=digest_of(self.token))

    def by_provider(self, vouch: Callable[[], Vouched], address: str) -> str:
        """A new session for whom the identity provider vouches; cameras granted before stay granted.

        Raises what `vouch` raises, and `TooManyLogins`."""
        attempt = self._begin(_BY_PROVIDER, address)
        try:
            vouched = vouch()
        except WrongLogin:
            self._refused(_BY_PROVIDER, address, "provider")
            raise
        self.accounts.forgive_logins(address, attempt)
        name, role = vouched.name, vouched.role
        known = self.accounts.account(name)
        if known is None:
            self.accounts.add_account(Account(name, role, self.clock.now()), None)
        elif known.role is not role:
            self.accounts.change_account(Account(name, role, known.added_at, known.camera_ids))
        return self._opened(name, address, "provider", name=name)

    def log_out(self, caller: Caller) -> None:
        if caller.session is not None:
            self.accounts.close_session(digest_of(caller.session))
            self.audit.record(caller.name, AuditAction.LOGOUT, caller.name)

    def forget(self, former: str) -> None:
        """End the session that a browser had before it logged in again."""
        self.accounts.close_session(digest_of(former))

    def _begin(self, name: str, address: str) -> str:
        """The digest under which the attempt counts. Raises `TooManyLogins`."""
        attempt = hashlib.sha256(f"{address}\n{name}".encode("utf-8", "surrogatepass")).hexdigest()
        if not self.accounts.begin_login(address, attempt, self.clock.now(), self.limits):
            metrics.LOGINS.labels("limited").inc()
            raise TooManyLogins(self.limits.window_s)
        return attempt

    def _refused(self, name: str, address: str, way: str) -> WrongLogin:
        metrics.LOGINS.labels("refused").inc()
        self.audit.record(name, AuditAction.LOGIN_REFUSED, name, {"address": address, "way": way})
        return WrongLogin("a login that is not right", "name and password of an account, or the token", "try again")

    def _opened(
        self, who: str, address: str, way: str, name: str | None = None, token_digest: str | None = None
    ) -> str:
        self.audit.record(who, AuditAction.LOGIN, who, {"address": address, "way": way})
        value, now = new_secret(), self.clock.now()
        self.accounts.open_session(Session(digest_of(value), now + self.session_s, name, token_digest), now)
        metrics.LOGINS.labels("opened").inc()
        return value


def network_of(host: str | None) -> str:
    """By what attempts are counted: the address, or the network of one of version 6."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return (host or "unknown")[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), _V6_NETWORK), strict=False))
    return str(address)


def own_path(wanted: str) -> str:
    """Where to go after the login: a path of this page, else its start. Never another site."""
    is_plain = wanted.isascii() and wanted.isprintable() and "\\" not in wanted
    if not is_plain or not wanted.startswith("/") or wanted.startswith("//"):
        return "/"
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return "/"
    return wanted if not parts.scheme and not parts.netloc else "/"
