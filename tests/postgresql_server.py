"""A real PostgreSQL server for tests, Debian's (`apt install postgresql`), on a Unix socket in a temporary folder."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Connection, Table, select

from pipeline.adapters.database import Database
from pipeline.adapters.schema import metadata
from pipeline.adapters.store import upgrade

if TYPE_CHECKING:
    import psycopg

OWNER = "postgres"  # the user that the package makes: the server refuses to run as root
_START_S = 60.0
_ROOM_BYTES = 1_000_000_000
# Those who die in these tests are clients, so nothing need reach the disk.
_SETTINGS = ("listen_addresses=", "fsync=off", "full_page_writes=off", "synchronous_commit=off")


class PostgresqlServer:
    """A server that gives a database to each who asks. It ends with its `with` block."""

    def __init__(self, programs: Path) -> None:
        """`programs` is the folder of `initdb` and `postgres`."""
        self._programs = programs
        # Not below pytest's own folder, which another user may not enter.
        self._folder = Path(tempfile.mkdtemp(prefix="sightline-postgresql-", dir=_in_memory()))
        self._numbers = itertools.count()
        self._wiped: str | None = None
        self._first_rows: dict[Table, list[dict[str, Any]]] = {}
        self._options: dict[str, Any] = {"cwd": self._folder}
        if os.getuid() == 0:
            self._options |= {"user": OWNER, "group": OWNER, "extra_groups": []}
            shutil.chown(self._folder, OWNER, OWNER)

    def __enter__(self) -> Self:
        data, log = self._folder / "data", self._folder / "log"
        make = [self._programs / "initdb", "--auth=trust", f"--username={OWNER}", "--no-sync", f"--pgdata={data}"]
        subprocess.run(make, check=True, capture_output=True, **self._options)
        settings = [word for each in _SETTINGS for word in ("-c", each)]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", data, "-k", self._folder, *settings],
                stdout=output,
                stderr=output,
                **self._options,
            )
        deadline_s = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                complaint = log.read_text()[-2000:]
                self.__exit__()
                raise RuntimeError(f"PostgreSQL did not start: {complaint}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed any more
        self._process.wait(30)
        shutil.rmtree(self._folder)

    def new_database(self) -> str:
        """The address of a database without any table."""
        name = f"test{next(self._numbers)}"
        with self._connection() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql://{OWNER}@/{name}?host={self._folder}"

    def wiped_database(self) -> str:
        """The address of a database of the newest schema without data: always the same one, for it is quicker so."""
        if self._wiped is None:
            self._wiped = self.new_database()
            upgrade(self._wiped)
        database = Database(self._wiped)
        with database.writing() as connection:
            if not self._first_rows:
                self._first_rows = {table: rows_of(connection, table) for table in metadata.sorted_tables}
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
            for table, rows in self._first_rows.items():
                if rows:
                    connection.execute(table.insert(), rows)
        database.close()
        return self._wiped

    def size_bytes(self) -> int:
        """Of all databases together, indices included."""
        with self._connection() as connection:
            (total,) = connection.execute("SELECT sum(pg_database_size(oid)) FROM pg_database").fetchone() or (0,)
            return int(total)

    def _connection(self) -> psycopg.Connection[Any]:
        import psycopg

        return psycopg.connect(host=str(self._folder), user=OWNER, dbname="postgres", autocommit=True)

    def _answers(self) -> bool:
        from psycopg import OperationalError

        try:
            self._connection().close()
        except OperationalError:
            return False
        return True


def _in_memory() -> Path | None:
    """A folder that no disk can slow down, where there is one with room; None for the usual one."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() and shutil.disk_usage(folder).free > _ROOM_BYTES else None


def rows_of(connection: Connection, table: Table) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(select(table)).mappings()]


def programs() -> Path | None:
    """Where Debian keeps the newest server; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    return found[-1].parent if found else None
