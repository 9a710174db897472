"""A connection to SQLite (WAL) or PostgreSQL, its schema version, and its failures in the words of the house."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import cache, lru_cache
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import BaseModel
from sqlalchemy import Connection, Dialect, Engine, Executable, Insert, Table, Update, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DataError, InterfaceError, OperationalError, TimeoutError
from sqlalchemy.pool import StaticPool
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.compiler import SQLCompiler

from pipeline.errors import ConfigurationError, InvalidMessage, SightlineError, Unavailable

log = logging.getLogger(__name__)

_MIGRATIONS = Path(__file__).parent / "migrations"
_IN_LIMIT = 500  # values in one IN (…); SQLite's oldest supported limit is 999
_FOLD_WAIT_MS = 200
_SQLITE_POOL = 16  # kept open: they cost little, and to open one anew for every other question does not
_STOOD_STILL = "25P03"  # PostgreSQL's idle_in_transaction_session_timeout
_UPGRADE_LOCK = 0x5167_4C69  # any number that nobody else on this PostgreSQL server takes
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}

Value = TypeVar("Value")
Columns = ReadOnlyColumnCollection[str, Any]
Change = Callable[[Columns], Mapping[str, Any]]  # a new row → what it changes of the one that is there
Fence = Callable[[Connection], None]  # raises in a transaction of somebody who may not write any more


class Database:
    """An engine with reading and writing transactions.

    `url` is `sqlite:///FILE`, `sqlite://` (in memory, for tests) or `postgresql://…`. A writer waits up to `busy_s`
    seconds for another process's write; then, as at every other refusal of the server or the disk, `Unavailable` is
    raised. No error holds a password. Each writing transaction begins with `fence`.
    """

    def __init__(self, url: str, busy_s: float = 10.0, fence: Fence | None = None) -> None:
        parsed = _parsed(url)
        self.shown_url = shown_address(parsed)
        self._engine = _engine(parsed, busy_s)
        # A transaction of SQLite sees one moment anyway.
        one_moment = {} if self.dialect == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        self._reader = self._engine.execution_options(**one_moment)
        self._writer = self._engine.execution_options(is_writing=True)
        # In memory there is one connection, so threads take turns.
        self._turn: AbstractContextManager[object] = (
            RLock() if isinstance(self._engine.pool, StaticPool) else nullcontext()
        )
        self._fence = fence
        self._busy_s = busy_s

    @classmethod
    def in_memory(cls) -> Database:
        """An empty one with its schema, for tests: the migrations run once in a process."""
        database = cls("sqlite://")
        with closing(database._engine.raw_connection()) as connection:
            connection.driver_connection.deserialize(_empty_database())  # type: ignore[union-attr]  # SQLite's own
        return database

    @property
    def dialect(self) -> str:
        return self._engine.dialect.name

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view; nothing is written."""
        with self._turn, self._translated(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, durable when the block has ended, undone when it raises."""
        with self._turn, self._translated(), self._writer.begin() as connection:
            if self._fence is not None:
                self._fence(connection)
            yield connection

    def insert_new(self, connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        """Rows that exist stay as they are. No column may be JSON."""
        execute_many(connection, _insert_new(table, self.dialect), rows)

    def upsert(self, connection: Connection, table: Table, rows: Sequence[dict[str, Any]], change: Change) -> None:
        """Rows that exist are changed as `change` says of the new ones. No column may be JSON."""
        execute_many(connection, _upsert(table, self.dialect, change), rows)

    def close(self) -> None:
        self._engine.dispose()

    def fold_log(self) -> None:
        """Let SQLite's write-ahead log go, which holds former pages. Where others are reading just now it stays, and is
        written over in time: nobody who writes is kept waiting for longer than a moment."""
        if self.dialect == "sqlite":
            with self._translated(), closing(self._engine.raw_connection()) as connection:
                cursor = connection.cursor()
                cursor.execute(f"PRAGMA busy_timeout={_FOLD_WAIT_MS}")
                try:
                    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                finally:
                    cursor.execute(f"PRAGMA busy_timeout={round(1000 * self._busy_s)}")

    def upgrade(self, revision: str = "head") -> None:
        """Bring the schema to `revision`. Of several processes at once one works and the others wait."""
        if self.dialect == "sqlite":
            self._choose_wal()
        with self.writing() as connection:
            self._refuse_newer(connection)
            if self.dialect == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _UPGRADE_LOCK})
            command.upgrade(_alembic(connection), revision)

    def downgrade(self, revision: str) -> None:
        """Undo migrations down to `revision`; `base` removes every table."""
        with self.writing() as connection:
            command.downgrade(_alembic(connection), revision)

    def check_schema(self) -> None:
        """Raises `ConfigurationError` unless the schema is the one that this code was written for."""
        with self.reading() as connection:
            self._refuse_newer(connection)
            found = MigrationContext.configure(connection).get_current_revision()
        expected = _script().get_current_head()
        if found != expected:
            raise ConfigurationError(
                f"the database {self.shown_url} has schema {found or 'none'}; expected {expected}: "
                "start `sightline up` or any one service, which brings it up to date"
            )

    def _refuse_newer(self, connection: Connection) -> None:
        found = MigrationContext.configure(connection).get_current_revision()
        if found is not None and found not in known_revisions():
            raise ConfigurationError(
                f"the database {self.shown_url} has schema {found}; this Sightline knows "
                f"{', '.join(known_revisions())}: "
                "update Sightline, or go back to a copy of the database from before its update"
            )

    def _choose_wal(self) -> None:
        """The mode stays with the file. SQLite may refuse the change at once, without waiting, while others open it."""
        with self._translated(), closing(self._engine.raw_connection()) as connection:
            for pause_s in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6):
                try:
                    connection.cursor().execute("PRAGMA journal_mode=WAL")
                    return
                except sqlite3.OperationalError:
                    time.sleep(pause_s)
                except sqlite3.DatabaseError:  # no database at all: the transaction that follows says so
                    return
        log.warning("%s stays without a write-ahead log: it was busy for too long", self.shown_url)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SightlineError:
            raise
        except (OperationalError, InterfaceError, TimeoutError, sqlite3.OperationalError) as error:
            raise Unavailable(
                f"the database {self.shown_url} does not answer: {_cause(error)}; is it running, writable, and is "
                "there space on its disk?"
            ) from error
        except (DataError, OverflowError) as error:
            raise InvalidMessage(
                f"a value does not fit into the database: {_cause(error)}; expected numbers of at most 64 bits: look "
                "at the program that sent it"
            ) from error
        except (DatabaseError, sqlite3.DatabaseError) as error:
            if getattr(getattr(error, "orig", None), "sqlstate", None) == _STOOD_STILL:
                raise Unavailable(
                    f"the database {self.shown_url} has ended a transaction in which this process stood still for too "
                    "long; nothing of it is written"
                ) from error
            if self.dialect == "sqlite" and ("malformed" in str(error) or "not a database" in str(error)):
                raise ConfigurationError(
                    f"the file of {self.shown_url} is damaged or no SQLite database ({_cause(error)}); put back a "
                    "copy, or name another file with SIGHTLINE_DATABASE_URL"
                ) from error
            raise


@cache
def _empty_database() -> bytes:
    database = Database("sqlite://")
    database.upgrade()
    with closing(database._engine.raw_connection()) as connection:
        content: bytes = connection.driver_connection.serialize()  # type: ignore[union-attr]  # SQLite's own
    database.close()
    return content


@cache
def _insert_new(table: Table, dialect: str) -> Insert:
    return _insert(table, dialect).on_conflict_do_nothing()


@cache
def _upsert(table: Table, dialect: str, change: Change) -> Insert:
    insert = _insert(table, dialect)
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=change(insert.excluded))


def _insert(table: Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


def known_revisions() -> list[str]:
    """Every schema that this code can bring up to date."""
    return sorted(script.revision for script in _script().walk_revisions())


def execute_many(connection: Connection, statement: Insert | Update, rows: Sequence[dict[str, Any]]) -> None:
    """A statement once for each of the rows, which all name the same and hold what the driver takes: JSON as text.

    The statement must be one that is kept: SQLAlchemy looks at it once, and at the rows never.
    """
    if not rows:
        return
    sql, names, constants = _compiled(statement, connection.dialect, tuple(rows[0]))
    if constants:
        rows = [constants | row for row in rows]
    connection.exec_driver_sql(sql, [tuple(map(row.__getitem__, names)) for row in rows] if names else list(rows))


@lru_cache(256)
def _compiled(
    statement: Insert | Update, dialect: Dialect, keys: tuple[str, ...]
) -> tuple[str, Sequence[str] | None, dict[str, Any]]:
    """SQL, its parameters in their order where it knows them by that, and those that are part of the statement."""
    compiled = statement.compile(dialect=dialect, column_keys=list(keys))
    assert isinstance(compiled, SQLCompiler)
    constants = {name: value for name, value in compiled.params.items() if name not in keys}
    return str(compiled), compiled.positiontup, constants


def plain_rows(connection: Connection, statement: Executable, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What a question answers, as the driver gives it: of a million rows, SQLAlchemy's own would take a second more."""
    cursor = connection.execute(statement, parameters).cursor
    return [] if cursor is None else list(cursor.fetchall())


def in_parts(values: Sequence[Value]) -> list[Sequence[Value]]:
    """Slices that fit into one `IN (…)`."""
    return [values[start : start + _IN_LIMIT] for start in range(0, len(values), _IN_LIMIT)]


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise _unreadable() from None  # the cause could quote the address with its password
    kind = parsed.drivername.partition("+")[0]
    if kind not in _DRIVERS:
        raise ConfigurationError(
            f"database kind {kind!r} is unknown; expected sqlite:///FILE or postgresql://HOST/NAME"
        )
    return parsed.set(drivername=_DRIVERS[kind])


def _unreadable() -> ConfigurationError:
    return ConfigurationError(
        "the database address cannot be read; expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
    )


def shown_address(url: URL) -> str:
    """Without the password, and without the query, which may hold one too."""
    return url.set(drivername=url.get_backend_name(), query={}).render_as_string(hide_password=True)


def _engine(url: URL, busy_s: float) -> Engine:
    options: dict[str, Any] = {"hide_parameters": True, "json_serializer": as_json}
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": busy_s, "check_same_thread": False}
        if url.database in (None, "", ":memory:"):
            options["poolclass"] = StaticPool
        else:
            options["pool_size"] = _SQLITE_POOL
    else:
        options["connect_args"] = {"connect_timeout": max(2, round(busy_s))}
        options["pool_pre_ping"] = True
    try:
        engine = create_engine(url, **options)
    except ArgumentError:
        raise _unreadable() from None
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{error.name} is not installed; PostgreSQL needs it: pip install 'sightline[postgresql]'"
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def as_json(value: object) -> str:
    """What a JSON column keeps; of a model only what differs from its defaults."""
    return value.model_dump_json(exclude_defaults=True) if isinstance(value, BaseModel) else json.dumps(value)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # Python's driver would begin by itself, too late and never IMMEDIATE
    # What is deleted is overwritten, so that nobody finds an erased person among the free pages of the file. The log
    # grows to 16 MB before it is written back: pages that many transactions change then are written back but once.
    for pragma in ("foreign_keys=ON", "synchronous=FULL", "secure_delete=ON", "wal_autocheckpoint=4000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock now and waits for it; a later upgrade from reading fails without waiting.
    is_writing = connection.get_execution_options().get("is_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def _alembic(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _script() -> ScriptDirectory:
    return ScriptDirectory(str(_MIGRATIONS))


def _cause(error: Exception) -> str:
    """The driver's own words, on one line."""
    return " ".join(str(getattr(error, "orig", error)).split())[:300]
