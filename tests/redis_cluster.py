"""A Redis Cluster on loopback for tests: three masters and a replica of each, of the embedded server's own program."""

from __future__ import annotations

import contextlib
import itertools
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import redis
from redis.crc import key_slot

from pipeline.adapters.redis_bus import site_key
from pipeline.adapters.redis_server import server_program

MASTERS = 3
_SLOTS = 16384
_WAIT_S = 60.0
# Seconds until a silent node counts as dead: long enough for a busy machine, short enough for a test.
_NODE_TIMEOUT_S = 2.0


@dataclass
class Node:
    """One server of the cluster, which may be killed and started again."""

    folder: Path
    port: int
    bus_port: int
    process: subprocess.Popen[bytes] | None = None
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.client = redis.Redis(port=self.port, socket_timeout=5.0)

    def start(self) -> None:
        settings = {
            "port": self.port,
            "cluster-port": self.bus_port,
            "bind": "127.0.0.1",
            "dir": self.folder,
            "cluster-enabled": "yes",
            "cluster-node-timeout": round(1000 * _NODE_TIMEOUT_S),
            "cluster-require-full-coverage": "no",
            "appendonly": "yes",
            "appendfsync": "no",
            "save": "",
            "repl-diskless-sync-delay": 0,
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        with (self.folder / "log").open("ab") as output:
            self.process = subprocess.Popen([server_program(), *words], stdout=output, stderr=output)
        wait_for(self.answers, f"the node at port {self.port}")

    def answers(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(self.client.ping())
        return False

    def kill(self) -> None:
        """At once; one that has ended already stays so."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def info(self, section: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.info(section)
        return found


class RedisCluster:
    """Formed within `with`; every slot has a master with one replica."""

    def __init__(self, folder: Path) -> None:
        ports = list(_free_ports(4 * MASTERS))
        pairs = zip(ports[::2], ports[1::2], strict=True)
        self.nodes = [Node(folder / str(number), *pair) for number, pair in enumerate(pairs)]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    def __enter__(self) -> Self:
        try:
            self._form()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            if node.process is not None:
                node.kill()
            node.client.close()

    def wait_until_whole(self) -> None:
        """Until every slot has an owner with a replica, and all nodes say so."""
        wait_for(lambda: all(self._is_whole(node) for node in self.nodes), "the cluster to be whole")

    def master_of(self, site: str) -> Node:
        """Where a site lives now."""
        return self._nodes_of(site)[0]

    def replica_of(self, site: str) -> Node:
        return self._nodes_of(site)[1]

    def _nodes_of(self, site: str) -> list[Node]:
        slot = key_slot(site_key(site, "").encode())
        ranges = next(node for node in self.nodes if node.answers()).client.execute_command("CLUSTER SLOTS")
        (ports,) = ([each[1] for each in row[2:]] for row in ranges if row[0] <= slot <= row[1])
        return [node for port in ports for node in self.nodes if node.port == port]

    def _form(self) -> None:
        for node in self.nodes:
            node.start()
        masters, replicas = self.nodes[:MASTERS], self.nodes[MASTERS:]
        bounds = [_SLOTS * number // MASTERS for number in range(MASTERS + 1)]
        for number, (node, (first, end)) in enumerate(zip(masters, itertools.pairwise(bounds), strict=True), start=1):
            node.client.execute_command("CLUSTER SET-CONFIG-EPOCH", number)
            node.client.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
        for node in self.nodes[1:]:
            node.client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port, self.nodes[0].bus_port)
        wait_for(lambda: all(self._known(node) == len(self.nodes) for node in self.nodes), "the nodes to meet")
        for master, replica in zip(masters, replicas, strict=True):
            replica.client.execute_command("CLUSTER REPLICATE", master.client.execute_command("CLUSTER MYID").decode())
        self.wait_until_whole()

    def _known(self, node: Node) -> int:
        return int(node.client.execute_command("CLUSTER INFO")["cluster_known_nodes"])

    def _is_whole(self, node: Node) -> bool:
        with contextlib.suppress(redis.RedisError):
            ranges = node.client.execute_command("CLUSTER SLOTS")
            is_covered = sum(each[1] - each[0] + 1 for each in ranges) == _SLOTS
            replication = node.info("replication")
            if replication["role"] == "master":
                return is_covered and all(len(each) == 4 for each in ranges) and replication["connected_slaves"] == 1
            return is_covered and replication["master_link_status"] == "up"
        return False


def wait_for(condition: Callable[[], object], what: str) -> None:
    until_s = time.monotonic() + _WAIT_S
    while not condition():
        assert time.monotonic() < until_s, f"waited in vain for {what}"
        time.sleep(0.02)


def _free_ports(count: int) -> Iterator[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        ports = [probe.getsockname()[1] for probe in probes]
    yield from ports
