"""The audit log in the database: one chain, however many processes write to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from pipeline.adapters.counters import advance, locked
from pipeline.adapters.database import Database
from pipeline.adapters.schema import audit
from pipeline.audit import START, AuditAction, AuditEntry, Head, next_entry
from pipeline.interfaces import Clock
from pipeline.together import Together

_PAGE = 1000
_NEWEST = select(audit).order_by(audit.c.number.desc()).limit(1)
_INSERT = audit.insert()

Wanted = tuple[str, AuditAction, str, Mapping[str, Any] | None]  # actor, action, subject, detail


class AuditStore:
    """`AuditLog` on SQLite or PostgreSQL. Safe to use from many threads and processes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        # Entries of one moment become durable together. Of many who write, each for herself, all but one would wait
        # for SQLite's lock, and it is asked for again only after ever longer pauses.
        self._appending = Together(self._append_all)

    def record(
        self, actor: str, action: AuditAction, subject: str, detail: Mapping[str, Any] | None = None
    ) -> AuditEntry:
        """Add an entry, durable when it returns. Raises `Unavailable`."""
        return self._appending((actor, action, subject, detail))

    def entries(self, after: int = 0) -> Iterator[AuditEntry]:
        """All after a number, in order, read page by page."""
        while page := self._page(after):
            yield from page
            after = page[-1].number

    def newest(self, limit: int, before: int | None = None) -> list[AuditEntry]:
        """The newest ones with a number below `before`, newest first."""
        query = select(audit).order_by(audit.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.number < before)
        with self._database.reading() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def head(self) -> Head:
        with self._database.reading() as connection:
            return _head(connection)

    def _append_all(self, wanted: Sequence[Wanted]) -> list[AuditEntry]:
        with self._database.writing() as connection:
            return [append(connection, self._clock.now(), *each) for each in wanted]

    def _page(self, after: int) -> list[AuditEntry]:
        query = select(audit).where(audit.c.number > after).order_by(audit.c.number).limit(_PAGE)
        with self._database.reading() as connection:
            return [_entry(row) for row in connection.execute(query)]


def append(
    connection: Connection,
    at: float,
    actor: str,
    action: AuditAction,
    subject: str,
    detail: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Add an entry inside somebody else's transaction: it is kept if and only if what it tells of is."""
    locked(connection, "audit")  # nobody else appends before this transaction ends
    entry = next_entry(_head(connection), at, actor, action, subject, detail)
    connection.execute(_INSERT, {column.name: getattr(entry, column.name) for column in audit.c})
    advance(connection, "audit", entry.number)
    return entry


def _head(connection: Connection) -> Head:
    last = connection.execute(_NEWEST).one_or_none()
    return START if last is None else _entry(last).head


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(**row._mapping)
