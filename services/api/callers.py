"""Who is calling: an account by its session or token, the token of the settings, or anybody while nothing is locked."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.types import Scope

from pipeline.accounts import Account, AccountStore, Role, Session
from pipeline.contracts import CameraId
from pipeline.interfaces import Clock
from pipeline.together import Together

SESSION_COOKIE = "sightline_session"
TOKEN_NAME = "the api token"  # the token of the settings in the audit log; no account can be called so  # noqa: S105
TOKEN_BYTES = 32
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. `camera_ids` are the cameras whose people they may see; None for all."""

    name: str
    role: Role
    camera_ids: frozenset[CameraId] | None = None
    session: str | None = field(default=None, repr=False)  # what the browser holds, if it is one

    @classmethod
    def of(cls, account: Account, session: str | None = None) -> Caller:
        return cls(account.name, account.role, account.seen_cameras, session)

    @property
    def csrf(self) -> str:
        """What a form of ours carries and a page of another site cannot know; empty for programs."""
        if self.session is None:
            return ""
        return hmac.new(self.session.encode(), b"a form of this session", hashlib.sha256).hexdigest()


ANYBODY_HERE = Caller("this machine", Role.ADMIN)


class Admission:
    """Tells who a request comes from. Raises `Unavailable` while the database does not answer."""

    def __init__(
        self, accounts: AccountStore, clock: Clock, host: str, token: str | None, has_provider: bool = False
    ) -> None:
        self._accounts = accounts
        self._has_accounts: Together[None, bool] = Together(lambda asked: [accounts.has_accounts()] * len(asked))
        self._clock = clock
        self._host = host
        self._token = token or None
        self._has_provider = has_provider

    def is_open(self) -> bool:
        """Whether every program of this machine may do everything: it listens here only, and nobody can log in."""
        is_locked = self._token is not None or self._has_provider or self._host not in LOCAL_NAMES
        return not is_locked and not self._has_accounts(None)

    def caller(self, headers: Headers) -> Caller | None:
        """By the bearer token, else by the cookie of a login; None for nobody."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._of_token(given.strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(SESSION_COOKIE)
        except CookieError:
            return None
        return self._of_session(cookie.value) if cookie is not None else None

    def _of_token(self, given: str) -> Caller | None:
        if self._token is not None and is_same(given, self._token):
            return Caller(TOKEN_NAME, Role.ADMIN)
        account = self._accounts.account_of_token(digest_of(given), self._clock.now())
        return None if account is None else Caller.of(account)

    def _of_session(self, value: str) -> Caller | None:
        session = self._accounts.session(digest_of(value), self._clock.now())
        if session is None:
            return None
        if session.name is None:
            return Caller(TOKEN_NAME, Role.ADMIN, session=value) if self._is_of_token(session) else None
        account = self._accounts.account(session.name)
        return None if account is None else Caller.of(account, value)

    def _is_of_token(self, session: Session) -> bool:
        """With another token in the settings, the sessions of the former one end."""
        return self._token is not None and session.token_digest == digest_of(self._token)


def caller_of(scope: Scope) -> Caller | None:
    """Whom the gate has admitted; None where it asks nobody."""
    caller: Caller | None = scope.get("state", {}).get("caller")
    return caller


def new_secret() -> str:
    """A token or session that nobody can guess."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def digest_of(secret: str) -> str:
    """What is kept of a token or session."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def is_same(given: str, secret: str) -> bool:
    """Compares in constant time, so that nobody can find a secret letter by letter."""
    return hmac.compare_digest(given.encode(), secret.encode())
