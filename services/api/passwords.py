"""Passwords: kept as argon2id hashes, compared in the same time whether or not the account exists."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from pipeline.errors import InvalidQuery, Unavailable

LEAST_CHARACTERS = 12
MOST_CHARACTERS = 200
_AT_ONCE = 2  # each takes 64 MiB for a moment
_LONGEST_WAIT_S = 5.0


class Passwords:
    """Hashing with the costs of RFC 9106 for little memory. Safe to use from many threads; few hash at once."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._working = threading.BoundedSemaphore(_AT_ONCE)

    def hashed(self, password: str) -> str:
        """Raises `InvalidQuery` for one that is too short or too long; the message does not hold it."""
        if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
            raise InvalidQuery(
                f"a password of {len(password)} characters",
                f"{LEAST_CHARACTERS} to {MOST_CHARACTERS}",
                "choose a longer one: several words are easy to remember",
            )
        with self._turn():
            return self._hasher.hash(password)

    def fits(self, password: str, password_hash: str | None) -> bool:
        """Without a hash, because there is no such account or it has no password, it is False after the same work."""
        with self._turn():
            try:
                self._hasher.verify(password_hash or self._of_nobody, password[:MOST_CHARACTERS])
            except VerificationError:
                return False
        return password_hash is not None and len(password) <= MOST_CHARACTERS

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Whoever guesses from many addresses gets few of the machine's threads. Raises `Unavailable`."""
        if not self._working.acquire(timeout=_LONGEST_WAIT_S):
            raise Unavailable("too many people log in at once; expected few: try again in a moment")
        try:
            yield
        finally:
            self._working.release()

    @cached_property
    def _of_nobody(self) -> str:
        return self._hasher.hash(secrets.token_urlsafe())
