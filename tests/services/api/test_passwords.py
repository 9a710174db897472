"""Passwords: what is kept of them, and that guessing takes few of the machine's threads."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from pipeline.errors import InvalidQuery, Unavailable
from services.api import passwords as module
from services.api.passwords import MOST_CHARACTERS, Passwords

PASSWORD = "correct horse battery staple"


@pytest.fixture
def passwords() -> Passwords:
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


def test_only_the_password_fits_its_hash_and_equal_ones_have_different_hashes(passwords: Passwords) -> None:
    one, other = passwords.hashed(PASSWORD), passwords.hashed(PASSWORD)
    assert one != other and PASSWORD not in one
    assert passwords.fits(PASSWORD, one) and passwords.fits(PASSWORD, other)
    assert not any(passwords.fits(wrong, one) for wrong in ("", PASSWORD.upper(), PASSWORD + " ", PASSWORD[:-1]))


def test_what_is_longer_than_any_password_is_none(passwords: Passwords) -> None:
    longest = passwords.hashed("x" * MOST_CHARACTERS)
    assert passwords.fits("x" * MOST_CHARACTERS, longest)
    assert not passwords.fits("x" * (MOST_CHARACTERS + 1), longest)


@pytest.mark.parametrize("bad", ["", "eleven char", "x" * (MOST_CHARACTERS + 1)])
def test_a_bad_password_is_refused_without_being_repeated(passwords: Passwords, bad: str) -> None:
    with pytest.raises(InvalidQuery, match=f"{len(bad)} characters") as error:
        passwords.hashed(bad)
    assert not bad or bad not in str(error.value)


def test_the_costs_are_those_of_rfc_9106_for_little_memory() -> None:
    assert Passwords().hashed(PASSWORD).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_when_many_log_in_at_once_the_rest_is_put_off(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_WAIT_S", 0.01)
    kept = passwords.hashed(PASSWORD)
    with passwords._turn(), passwords._turn(), pytest.raises(Unavailable, match="too many"):
        passwords.fits(PASSWORD, kept)
    assert passwords.fits(PASSWORD, kept)
