"""Who is logged in, and who tries to, in the database: so that it holds for every API process and after a restart."""

from __future__ import annotations

from sqlalchemy import and_, delete, func, select

from pipeline.accounts import LoginLimits, Session
from pipeline.adapters.counters import advance, locked
from pipeline.adapters.database import Database
from pipeline.adapters.schema import login_attempts, sessions


class SessionStore:
    """Sessions of browsers, and attempts to log in."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def close(self) -> None:
        self._database.close()

    def open_session(self, session: Session, now: float) -> None:
        row = {name: getattr(session, name) for name in ("digest", "name", "token_digest", "expires_at")}
        with self._database.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
            connection.execute(sessions.insert(), row)

    def session(self, digest: str, now: float) -> Session | None:
        query = select(sessions).where(sessions.c.digest == digest, sessions.c.expires_at > now)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Session(**row._mapping)

    def close_session(self, digest: str) -> None:
        with self._database.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.digest == digest))

    def begin_login(self, address: str, name_digest: str, now: float, limits: LoginLimits) -> bool:
        of_address = login_attempts.c.address == address
        of_both = and_(of_address, login_attempts.c.name_digest == name_digest)
        with self._database.writing() as connection:
            # Attempts at the same time wait here: else all of them could pass before the first has failed.
            number = locked(connection, "login") + 1
            connection.execute(delete(login_attempts).where(login_attempts.c.at <= now - limits.window_s))
            for condition, most in ((of_both, limits.of_name_and_address), (of_address, limits.of_address)):
                query = select(func.count()).select_from(login_attempts).where(condition)
                if connection.execute(query).scalar_one() >= most:
                    return False
            row = {"number": number, "address": address, "name_digest": name_digest, "at": now}
            connection.execute(login_attempts.insert(), row)
            advance(connection, "login", number)
        return True

    def forgive_logins(self, address: str, name_digest: str) -> None:
        of_both = and_(login_attempts.c.address == address, login_attempts.c.name_digest == name_digest)
        with self._database.writing() as connection:
            connection.execute(delete(login_attempts).where(of_both))
