"""What is done at the terminal is recorded as what is done through the API."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.audit import AuditAction
from pipeline.errors import InvalidQuery
from services.settings import Settings

MAX_REASON = 200

NAMED_LETTERS = 50

# Operations in the same words by page and terminal
DEAD_SENT_AGAIN = "dead letters sent again"
MODEL_BEFORE_WANTED = "model rolled back"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class MissingReason(InvalidQuery):
    """This site answers no search without a reason."""

    def __init__(self) -> None:
        super().__init__(
            "a search without a reason", "why you search, in a few words", "add `reason`; it is kept in the audit log"
        )


def promotion(digest: str) -> str:
    """The subject of a model's promotion."""
    return f"model {digest} promoted"


def letters_named(entry_ids: Sequence[str]) -> dict[str, Any]:
    """Which dead letters are sent again."""
    return {"entries": list(entry_ids[:NAMED_LETTERS]) or "all"}


def stated(reason: str | None, is_required: bool) -> str:
    """A reason as it is kept, empty for none. Raises `MissingReason` for none where the site requires one."""
    told = _CONTROL.sub(" ", reason or "").strip()[:MAX_REASON]
    if is_required and not told:
        raise MissingReason
    return told


def record_at_terminal(
    settings: Settings, action: AuditAction, subject: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Into the audit log, by the user at this terminal."""
    from services.runtime import open_accounts

    accounts, audit = open_accounts(settings)
    try:
        audit.record(terminal_user(), action, subject, detail)
    finally:
        accounts.close()


def terminal_user() -> str:
    """How the audit log calls whoever types commands: known by the machine, and by a name that no account can have."""
    return f"terminal/{user_name()}"


def user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"
