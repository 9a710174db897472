"""Numbers that grow in the order of commits and never come back, whatever is deleted.

A sequence of the database would not do: it may show number 8 before number 7 is committed, and then a reader that
follows the numbers misses 7 for ever.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection, bindparam, select, update

from pipeline.adapters.schema import counters

Counter = Literal[
    "global_id",
    "event_id",
    "row",
    "correction",
    "published",  # the last event that went out
    "audit",
    "login",
    # Locked by whoever removes tracklets, shared by whoever writes them: nothing is written behind a removal's back.
    "erasure",
    "standing_query",
    "standing_change",  # how often what standing queries go by was changed: themselves, or a verdict
    "alert",
    "watched",  # the last event that was looked at for alerts
]


_LAST = select(counters.c.last).where(counters.c.name == bindparam("which"))
_LAST_LOCKED, _LAST_SHARED = _LAST.with_for_update(), _LAST.with_for_update(read=True)
_ADVANCE = update(counters).where(counters.c.name == bindparam("which")).values(last=bindparam("to"))
_REACH = _ADVANCE.where(counters.c.last < bindparam("to"))


def counted(connection: Connection, name: Counter) -> int:
    """The last number given out, at first 0."""
    return int(connection.execute(_LAST, {"which": name}).scalar_one())


def locked(connection: Connection, name: Counter) -> int:
    """The same, and nobody else draws one before this transaction ends. (SQLite has but one writer anyway.)"""
    return int(connection.execute(_LAST_LOCKED, {"which": name}).scalar_one())


def shared(connection: Connection, name: Counter) -> int:
    """The same, and others may share it, but nobody locks it before this transaction ends."""
    return int(connection.execute(_LAST_SHARED, {"which": name}).scalar_one())


def advance(connection: Connection, name: Counter, last: int) -> None:
    """Give out everything up to `last`. The counter must be locked."""
    connection.execute(_ADVANCE, {"which": name, "to": last})


def reach(connection: Connection, name: Counter, last: int) -> None:
    """The same for a counter that need not be locked: one that is further already stays there."""
    connection.execute(_REACH, {"which": name, "to": last})
