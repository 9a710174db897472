"""The way to a Redis or Valkey server, alone or in a cluster: one client, and its errors as the errors of the house,
without credentials."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.adapters.redis_cluster import SCHEMES, cluster_client, parse_cluster_address
from pipeline.errors import BusFull, ConfigurationError, Unavailable

log = logging.getLogger(__name__)

_REPLICATION_S = 1.0  # longest wait for replicas, which usually answer within a millisecond
_EXPECTED = (
    "redis://host:6379/0, rediss://host:6379/0, unix:///path/to/redis.sock or, for a cluster, "
    "redis+cluster://host:6379,host:6379"
)
_AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.ReadOnlyError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
    redis.exceptions.AskError,  # and MOVED: another node of the cluster has the slot now
)
_REFUSED = (redis.AuthenticationError, redis.exceptions.AuthorizationError, redis.exceptions.NoPermissionError)
# Answers of a server that cannot take the command now: disk trouble, missing replicas, a group that vanished just now.
_AWAY_CODES = ("MISCONF", "NOREPLICAS", "NOGROUP", "UNBLOCKED", "LOADING", "MASTERDOWN", "BUSY ")


class RedisConnection:
    """A client for the server at `url`. It connects at the first command and again after every loss."""

    def __init__(self, url: str, key: str, connect_timeout_s: float, answer_timeout_s: float) -> None:
        """`key` is any of those that will be used: in a cluster they all must lie in its slot.

        Raises `ConfigurationError` for an address that is none; the address itself is not repeated in it.
        """
        options: dict[str, Any] = {
            "protocol": 2,  # the shapes of the answers then are the same whatever the server and the client's version
            "socket_connect_timeout": connect_timeout_s,
            "socket_timeout": answer_timeout_s,
            # A repeated append would be a second message: the caller decides about that, not the client.
            "retry": Retry(NoBackoff(), 0),
        }
        self._demanded: int | None = 0  # replicas; see `ClusterAddress`
        self._connected = 1  # replicas that the master had when it was asked last
        # Any: redis-py types its answers for every protocol and decoding at once; here they are bytes and RESP 2.
        self.client: Any
        try:
            if urlsplit(url).scheme in SCHEMES:
                cluster = parse_cluster_address(url)
                self.address, self._demanded = cluster.shown, cluster.replicas
                self.client = cluster_client(cluster, key, options)
            else:
                self.address = without_credentials(url)
                self.client = redis.Redis.from_url(url, **options)
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

    def write(self, commands: Sequence[tuple[Any, ...]]) -> None:
        """Run commands all or none; in a cluster, only when replicas have them too is it a success.

        Raises errors of the client, and `Unavailable` when too few replicas have answered in time: the commands have
        perhaps had their effect.
        """
        if self._demanded == 0:
            pipeline = self.client.pipeline(transaction=len(commands) > 1)
            for command in commands:
                pipeline.execute_command(*command)
            pipeline.execute()
            return
        wanted = min(self._connected, 1) if self._demanded is None else self._demanded
        # WAIT speaks of what its own connection has written before, and does not wait within a transaction.
        pipeline = self.client.pipeline(transaction=False)
        wait = ("WAIT", wanted, round(1000 * _REPLICATION_S))
        for command in [("MULTI",), *commands, ("EXEC",), ("ROLE",), wait]:
            pipeline.execute_command(*command)
        *_, written, role, reached = pipeline.execute()
        for answer in written:
            if isinstance(answer, redis.ResponseError):
                raise answer
        self._note_replicas(len(role[2]))
        required = min(wanted, self._connected) if self._demanded is None else wanted
        if reached < required:
            raise Unavailable(
                f"{self.address} has written, but {reached} of {required} replicas have it; are they running and "
                "reachable? It is sent again"
            )

    def _note_replicas(self, connected: int) -> None:
        if bool(connected) != bool(self._connected):
            message = "has a replica again" if connected else "has no replica: what its master loses is lost"
            log.warning("%s %s", self.address, message)
        self._connected = connected

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
