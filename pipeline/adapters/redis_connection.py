"""The way to a Redis or Valkey server: one client, and its errors as the errors of the house, without credentials."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.errors import BusFull, ConfigurationError, Unavailable

_EXPECTED = "redis://host:6379/0, rediss://host:6379/0 or unix:///path/to/redis.sock"
_AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.ReadOnlyError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
)
_REFUSED = (redis.AuthenticationError, redis.exceptions.AuthorizationError, redis.exceptions.NoPermissionError)
# Answers of a server that cannot take the command now: disk trouble, missing replicas, a group that vanished just now.
_AWAY_CODES = ("MISCONF", "NOREPLICAS", "NOGROUP", "UNBLOCKED", "LOADING", "MASTERDOWN", "BUSY ")


class RedisConnection:
    """A client for the server at `url`. It connects at the first command and again after every loss."""

    def __init__(self, url: str, connect_timeout_s: float, answer_timeout_s: float) -> None:
        """Raises `ConfigurationError` for an address that is none; the address itself is not repeated in it."""
        try:
            self.address = without_credentials(url)
            # Any: redis-py types its answers for every protocol and decoding at once; here they are bytes and RESP 2.
            self.client: Any = redis.Redis.from_url(
                url,
                protocol=2,  # the shapes of the answers then are the same whatever the server and the client's version
                socket_connect_timeout=connect_timeout_s,
                socket_timeout=answer_timeout_s,
                # A repeated append would be a second message: the caller decides about that, not the client.
                retry=Retry(NoBackoff(), 0),
            )
        except (ValueError, TypeError):
            raise ConfigurationError(
                f"the Redis address cannot be read; expected {_EXPECTED}, "
                "with / ? # @ : inside a password written as %2F %3F %23 %40 %3A"
            ) from None  # the cause repeats a part of the address, which may be the password

    def __repr__(self) -> str:
        return f"RedisConnection({self.address})"

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raises `BusFull` at the server's memory limit, `Unavailable` while it does not answer, and
        `ConfigurationError` for what no retry can mend."""
        try:
            yield
        except redis.OutOfMemoryError as error:
            raise BusFull(
                f"{self.address} has reached its memory limit; slow down, or give the server more (maxmemory)"
            ) from error
        except _REFUSED as error:
            raise ConfigurationError(
                f"{self.address} refuses the user or the password ({error}); correct REDIS_URL"
            ) from error
        except _AWAY as error:
            raise self._unavailable(error) from error
        except redis.ResponseError as error:
            if str(error).startswith(_AWAY_CODES):
                raise self._unavailable(error) from error
            raise ConfigurationError(
                f"{self.address} answers {str(error)[:200]!r}; expected Redis 7 or later, or Valkey, "
                "with no other program's data under the keys sightline:*"
            ) from error

    def _unavailable(self, error: redis.RedisError) -> Unavailable:
        # After a fail-over the old server still answers, but refuses to write: only new connections find the new one.
        self.client.connection_pool.disconnect(inuse_connections=False)
        return Unavailable(f"{self.address} does not answer ({str(error)[:200]}); is it running and reachable?")


def without_credentials(url: str) -> str:
    """The address as it may be shown: no user, no password, no query. Raises `ValueError` for what is no address."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError("no Redis address")
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}"
