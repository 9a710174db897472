"""A whole database as one file and back: SQLite by its own way to copy what is written to, PostgreSQL by `pg_dump`."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import URL, make_url

from pipeline.adapters.database import Database, shown_address
from pipeline.errors import ConfigurationError, Unavailable

FILES = {"sqlite": "sightline.db", "postgresql": "database.dump"}  # by dialect, in a backup
_BUSY_S = 60.0
_PUT_BACK = ("--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges")


@contextmanager
def copied(url: str, folder: Path) -> Iterator[Connection]:
    """Write the database of one moment to its file in `folder`, and give a connection that reads that very moment.

    Nobody who writes is kept waiting. Raises `Unavailable` while the database or the disk refuses, and
    `ConfigurationError` where the program to copy it is missing.
    """
    with closing(Database(url)) as database:
        target = folder / FILES[database.dialect]
        if database.dialect == "sqlite":
            _copy_sqlite(_sqlite_file(url), target)
            with closing(Database(f"sqlite:///{target}")) as copy, copy.reading() as connection:
                yield connection
        else:
            with database.reading() as connection:
                snapshot = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
                _run(["pg_dump", "--format=custom", f"--snapshot={snapshot}", f"--file={target}"], make_url(url))
                yield connection


def check_takes(url: str, dialect: str) -> None:
    """Raises `ConfigurationError` where a copy of this dialect would not fit, or something would be written over."""
    shown = shown_address(make_url(url))
    with closing(Database(url)) as database:
        if database.dialect != dialect:
            raise ConfigurationError(
                f"the backup holds a database of {dialect}, and the settings name {shown}; name one of the same kind "
                "in SIGHTLINE_DATABASE_URL"
            )
        if dialect == "sqlite":
            is_empty = not _sqlite_file(url).exists()
        else:
            with database.reading() as connection:
                is_empty = not inspect(connection).get_table_names()
    if not is_empty:
        raise ConfigurationError(
            f"there is a database at {shown} already; expected none: move it away, or name another one"
        )


def put_back(url: str, folder: Path, dialect: str) -> None:
    """Make the database anew from its file in `folder`, where `check_takes` found room for it."""
    parsed, source = make_url(url), folder / FILES[dialect]
    if dialect == "postgresql":
        _run(["pg_restore", *_PUT_BACK, f"--dbname={parsed.database}", str(source)], parsed)
        return
    target = _sqlite_file(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.copyfile(source, unfinished)
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(target)


def _copy_sqlite(source: Path, target: Path) -> None:
    if not source.exists():
        raise ConfigurationError(
            f"there is no database at {source} to copy; start `sightline up`, or give its data_dir"
        )
    try:
        with closing(sqlite3.connect(source, timeout=_BUSY_S)) as live, closing(sqlite3.connect(target)) as copy:
            # In one go: a copy in steps begins anew whenever another process has written. Readers of a write-ahead
            # log keep no writer waiting.
            live.backup(copy, pages=-1)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, whole by itself
    except sqlite3.Error as error:
        raise Unavailable(
            f"the database {source} could not be copied to {target.parent} ({error}); is there space, and may it be "
            "written?"
        ) from error


def _sqlite_file(url: str) -> Path:
    name = make_url(url).database
    if name in (None, "", ":memory:"):
        raise ConfigurationError("a database in memory cannot be copied; name a file, as sqlite:///FILE")
    return Path(str(name))


def _run(command: Sequence[str], url: URL) -> None:
    """A program of PostgreSQL. What it needs to log in goes by its environment: arguments are for all to see."""
    from psycopg.pq import Conninfo

    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    given = {
        option.envvar.decode(): option.val.decode()
        for option in Conninfo.parse(address.encode())
        if option.envvar and option.val
    }
    try:
        done = subprocess.run(command, env=os.environ | given, capture_output=True, text=True, errors="replace")
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{command[0]} is not installed, and PostgreSQL is copied by it; install the client programs of the "
            "server's version (apt-get install postgresql-client)"
        ) from error
    if done.returncode:
        complaint = " ".join(done.stderr.split())[:300]
        raise Unavailable(
            f"{command[0]} could not copy {shown_address(url)}: {complaint}; does the server answer, may this user "
            "read all of it, and is the program as new as the server?"
        )
