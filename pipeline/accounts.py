"""Who may use Sightline: accounts with a role, their tokens, their sessions, and how often somebody may try to log in.

Nothing here holds a password or a token: passwords come as argon2 hashes, tokens and sessions as SHA-256 digests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pipeline.contracts import CameraId
from pipeline.errors import InvalidQuery

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")  # of an account that is made here
PROVIDER_PREFIX = "oidc/"  # of an account that an identity provider vouches for; no local name has a stroke


class Role(StrEnum):
    """What somebody may do; each may do all that the ones before it may."""

    VIEWER = "viewer"  # see and search the cameras that were granted, and no others
    INVESTIGATOR = "investigator"  # all cameras, why somebody is who, corrections, exports
    OPERATOR = "operator"  # the state and the metrics of the system, and how long it keeps what
    ADMIN = "admin"  # accounts, the audit log, erasure

    def includes(self, other: Role) -> bool:
        ladder = list(Role)
        return ladder.index(self) >= ladder.index(other)


@dataclass(frozen=True, slots=True)
class Account:
    """One person or program. `camera_ids` are granted to a viewer; the other roles see all cameras."""

    name: str
    role: Role
    added_at: float  # UTC seconds
    camera_ids: frozenset[CameraId] = frozenset()

    @property
    def seen_cameras(self) -> frozenset[CameraId] | None:
        """The cameras whose people this account may see; None for all."""
        return self.camera_ids if self.role is Role.VIEWER else None


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is logged in: by an account, or by the token of the settings, of which this is the digest."""

    digest: str  # of what the browser holds
    expires_at: float
    name: str | None = None
    token_digest: str | None = None


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """How many logins may fail within a window. None counts by the name alone: so nobody can lock others out."""

    window_s: float = 900.0
    of_name_and_address: int = 5
    of_address: int = 20


class AccountStore(Protocol):
    """Accounts, tokens, sessions: `SqlAccounts`; on SQLite in memory in tests. All raise `Unavailable`."""

    def has_accounts(self) -> bool: ...

    def accounts(self) -> list[Account]:
        """By name."""

    def account(self, name: str) -> Account | None: ...

    def add_account(self, account: Account, password_hash: str | None) -> None:
        """Raises `InvalidQuery` for a name that is taken. Without a password only tokens or a provider let it in."""

    def change_account(self, account: Account) -> None:
        """New role and cameras, in force with the next request. Raises `UnknownAccount`."""

    def remove_account(self, name: str) -> None:
        """With its tokens and sessions. Raises `UnknownAccount`."""

    def password_hash(self, name: str) -> str | None: ...

    def set_password(self, name: str, password_hash: str) -> None:
        """Ends its sessions. Raises `UnknownAccount`."""

    def add_token(self, name: str, digest: str, made_at: float, expires_at: float | None) -> None:
        """Raises `UnknownAccount`."""

    def remove_tokens(self, name: str) -> int:
        """Returns how many there were."""

    def account_of_token(self, digest: str, now: float) -> Account | None: ...

    def open_session(self, session: Session, now: float) -> None:
        """Forgets those that have expired."""

    def session(self, digest: str, now: float) -> Session | None: ...

    def close_session(self, digest: str) -> None: ...

    def begin_login(self, address: str, name_digest: str, now: float, limits: LoginLimits) -> bool:
        """Whether another attempt may be made; it counts as failed until `forgive_logins`."""

    def forgive_logins(self, address: str, name_digest: str) -> None:
        """Forget the attempts of a name from an address, because one has succeeded."""


class UnknownAccount(InvalidQuery):
    """No account has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is no account {name[:80]!r}", "the name of one", "look at the list: sightline accounts list"
        )


def checked_name(name: str) -> str:
    """Raises `InvalidQuery` for what cannot be the name of an account."""
    if not NAME.fullmatch(name):
        raise InvalidQuery(
            f"the name {name[:80]!r}",
            "1 to 64 letters, digits, dots, dashes, underscores and @, beginning with a letter or digit",
            "choose another name",
        )
    return name
