"""One writer at a time: a row of the database says who, and its growing token refuses everybody before."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import Self

from sqlalchemy import Connection, Row, Update, select, text, update

from pipeline.adapters.database import Database
from pipeline.adapters.process_mark import has_ended
from pipeline.adapters.schema import leases
from pipeline.errors import Unavailable

log = logging.getLogger(__name__)

_NAME = "matcher"
_RENEWALS = 3  # within one duration, so that one that fails or comes late does no harm
_CLOCKS = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())::float8",
}


class Lease:
    """The right to decide for a database. A thread renews it from `with` on.

    It runs out when its holder has been silent for `duration_s`, and at once when the holder was a process of this
    machine that has ended. Each new holder gets a higher token, and `check` refuses a transaction of an earlier one: a
    process that was paused, taken for dead and replaced writes nothing when it wakes up. Only the database's clock is
    read, so the clocks of the hosts do not matter; if that one jumps, the holder may change, and nothing else happens.
    """

    def __init__(self, url: str, holder: str, process: str, duration_s: float = 15.0) -> None:
        """`holder` is shown to people; `process` is this process's `process_mark`. The schema must be there."""
        self._database = Database(url)
        self._holder = holder[:200]
        self._process = process
        self._duration_s = duration_s
        self._token: int | None = None
        self._closing = threading.Event()
        self._renewing = threading.Thread(target=self._keep_renewing, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._renewing.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let a successor begin at once."""
        self._closing.set()
        self._renewing.join()
        try:
            self._change(expires_at=0.0)
        except Unavailable as error:
            log.warning("the right to decide is not given back, it runs out by itself: %s", error)
        self._database.close()

    def hold(self) -> bool:
        """Make sure of it; returns whether it was taken just now, and what was known before may be outdated.

        Raises `Unavailable`, which says who and since when, while somebody else holds it: write nothing and ask again.
        """
        if self._token is not None:
            return False
        with self._database.writing() as connection:
            self._limit(connection)
            found = connection.execute(select(leases).where(leases.c.name == _NAME).with_for_update()).one()
            now = _now(connection)
            if now < found.expires_at and found.process != self._process and not has_ended(found.process):
                raise self._held_by(found)
            values = {"holder": self._holder, "process": self._process, "taken_at": now}
            token = found.token + 1
            connection.execute(_lease().values(token=token, expires_at=now + self._duration_s, **values))
        self._token = token
        log.info("%s decides from now on, with token %d; before: %s", self._holder, token, found.holder or "nobody")
        return True

    def check(self, connection: Connection) -> None:
        """Refuse the transaction of `connection`, by `Unavailable`, if somebody else has taken over; else nobody takes
        over before it ends."""
        self._limit(connection)
        found = connection.execute(select(leases).where(leases.c.name == _NAME).with_for_update(read=True)).one()
        if found.token != self._token:
            self._token = None
            raise self._held_by(found)

    def renew(self) -> None:
        """Put the end off, if it is still held."""
        with self._database.reading() as connection:
            now = _now(connection)
        self._change(expires_at=now + self._duration_s)

    def _change(self, expires_at: float) -> None:
        token = self._token
        if token is None:
            return
        with self._database.writing() as connection:
            self._limit(connection)
            mine = _lease().where(leases.c.token == token).values(expires_at=expires_at)
            if connection.execute(mine).rowcount == 0:
                self._token = None
                log.warning("somebody else has taken over from %s", self._holder)

    def _limit(self, connection: Connection) -> None:
        """Who is paused or cut off in the middle of a transaction must not keep the row locked for ever."""
        if self._database.dialect == "postgresql":
            limit_ms = max(1, round(1000 * self._duration_s))
            connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {limit_ms}"))

    def _keep_renewing(self) -> None:
        while not self._closing.wait(self._duration_s / _RENEWALS):
            try:
                self.renew()
            except Unavailable as error:
                log.warning("the right to decide is not renewed: %s", error)

    def _held_by(self, found: Row[tuple[object, ...]]) -> Unavailable:
        since = datetime.fromtimestamp(found.taken_at, UTC).isoformat(timespec="seconds")
        return Unavailable(
            f"{found.holder} decides for the database {self._database.shown_url} since {since}; this matcher writes "
            f"nothing and takes over when that one ends or is silent for {self._duration_s:g} s: stop one of the two"
        )


def _lease() -> Update:
    return update(leases).where(leases.c.name == _NAME)


def _now(connection: Connection) -> float:
    """UTC seconds by the database's clock."""
    return float(connection.execute(text(_CLOCKS[connection.dialect.name])).scalar_one())
