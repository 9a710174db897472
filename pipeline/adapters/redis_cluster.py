"""Redis Cluster: which of its nodes answers for a site now, and connections that always go to that one.

All keys of a site lie in one hash slot, so a site lives on one master. A plain client is enough for it, with everything
that a cluster's client cannot do (transactions, WAIT), as long as each new connection asks where that master is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis
from redis.connection import parse_url
from redis.crc import key_slot

log = logging.getLogger(__name__)

SCHEMES = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
_PORT = 6379
_REPLICAS = "replicas"

Node = tuple[str, int]  # host and port


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """`redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT/?replicas=1`; `rediss+cluster` with TLS."""

    nodes: tuple[Node, ...]  # any of the cluster; it names the others
    options: Mapping[str, Any]  # of every connection
    # On how many replicas a message must be before it counts as sent; None: on one, if the master has one at present.
    replicas: int | None
    shown: str


def parse_cluster_address(url: str) -> ClusterAddress:
    """Raises `ValueError` for what is no address of a cluster."""
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    nodes = tuple(_node(host) for host in hosts.split(","))
    query = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    replicas = query.pop(_REPLICAS, None)
    if parts.path not in ("", "/", "/0") or (replicas is not None and int(replicas) < 0):
        raise ValueError("a cluster has one database, number 0, and no fewer than 0 replicas")
    plain = f"{SCHEMES[parts.scheme]}://{user + '@' if user else ''}{hosts.split(',')[0]}/?{urlencode(query)}"
    read: dict[str, Any] = parse_url(plain)  # type: ignore[no-untyped-call]
    options = {name: value for name, value in read.items() if name not in ("host", "port")}
    shown = f"{parts.scheme}://{','.join(f'{host}:{port}' for host, port in nodes)}"
    return ClusterAddress(nodes, options, None if replicas is None else int(replicas), shown)


def cluster_client(address: ClusterAddress, key: str, options: Mapping[str, Any]) -> redis.Redis:
    """A client of the node that owns the slot of `key` at the moment of connecting."""
    options = {**options, **address.options}
    owner = _SlotOwner(address.nodes, key_slot(key.encode()), options)
    is_secured = options.pop("connection_class", None) is not None
    kind = _SecuredConnectionToOwner if is_secured else _ConnectionToOwner
    return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=kind, owner=owner, **options))


class _SlotOwner:
    """Asks who owns a slot: the nodes of the address, then those that were named by them."""

    def __init__(self, nodes: Sequence[Node], slot: int, options: Mapping[str, Any]) -> None:
        self._given = list(nodes)
        self._named: list[Node] = []
        self._slot = slot
        self._options = dict(options)
        self._last: Node | None = None

    def __call__(self) -> Node:
        """Raises errors of the client: `ConnectionError` if no node answers, `ClusterDownError` if nobody owns it."""
        failure: redis.RedisError = redis.ConnectionError("no node of the cluster is known")
        for asked in dict.fromkeys(self._given + self._named):
            try:
                ranges = self._ranges(asked)
            except (redis.ConnectionError, redis.TimeoutError) as error:
                failure = error
                continue
            # A node that does not know its own name leaves it out.
            named = [[(_text(node[0]) or asked[0], int(node[1])) for node in each[2:]] for each in ranges]
            self._named = [node for nodes in named for node in nodes]
            for (first, last, *_), (owner, *_) in zip(ranges, named, strict=True):
                if first <= self._slot <= last:
                    self._note(owner)
                    return owner
            failure = redis.exceptions.ClusterDownError(f"nobody owns slot {self._slot}")
        raise failure

    def _ranges(self, node: Node) -> Any:
        """First and last slot, then the owner and its replicas."""
        pool = redis.ConnectionPool(host=node[0], port=node[1], **self._options)
        client: Any = redis.Redis(connection_pool=pool)
        try:
            return client.execute_command("CLUSTER SLOTS")
        finally:
            pool.disconnect()

    def _note(self, owner: Node) -> None:
        if owner != self._last:
            log.info("slot %d is on %s:%d", self._slot, *owner)
            self._last = owner


class _ConnectionToOwner(redis.Connection):
    """Looks up where to go each time that it connects."""

    def __init__(self, *, owner: Callable[[], Node], **options: Any) -> None:
        self._owner = owner
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def _connect(self) -> Any:
        self.host, self.port = self._owner()
        return super()._connect()  # type: ignore[no-untyped-call]


class _SecuredConnectionToOwner(_ConnectionToOwner, redis.SSLConnection):
    """The same with TLS."""


def _node(host: str) -> Node:
    parts = urlsplit(f"redis://{host}")
    if not parts.hostname or parts.path:
        raise ValueError("no host")
    return parts.hostname, parts.port or _PORT


def _text(value: bytes | None) -> str:
    return (value or b"").decode()
