"""The databases on which the store keeps its promises, and the servers on which the bus keeps its own."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.bus_rules import BusConfig
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.redis_bus import RedisBus, site_key
from pipeline.adapters.redis_connection import RedisConnection
from pipeline.adapters.redis_server import EmbeddedRedis
from pipeline.adapters.store import SqlStore
from pipeline.interfaces import Bus
from tests.contract.buses import Place
from tests.postgresql_server import PostgresqlServer
from tests.redis_cluster import RedisCluster
from tests.sqlite_files import new_database

SERVERS = {"valkey": None, "redis": shutil.which("redis-server")}  # None: the embedded one of the wheel
_sites = itertools.count()


@pytest.fixture(params=["memory", "file", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    if request.param == "memory":
        store = SqlStore.in_memory()
    elif request.param == "file":
        store = SqlStore(new_database(tmp_path))
    else:
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        store = SqlStore(server.wiped_database())
    yield store
    store.close()


@pytest.fixture(scope="module", params=["memory", *SERVERS, "cluster"])
def bus_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """Where the server answers; None for the bus in memory."""
    if request.param == "memory":
        yield None
        return
    if request.param == "cluster":
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        yield cluster.url
        return
    program = SERVERS[request.param]
    if request.param == "redis" and program is None:
        pytest.skip("no redis-server on the PATH")
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), program=Path(program) if program else None) as started:
        yield started.url


@pytest.fixture
def place(bus_url: str | None) -> Place:
    if bus_url is None:
        memory = MemoryBus()

        def connect(config: BusConfig) -> Bus:
            return memory.restarted(config)

        return Place(connect, memory.inject, lambda: memory.come_back(is_empty=True))
    site = f"site{next(_sites)}"
    client = RedisConnection(bus_url, site_key(site, ""), 2.0, 10.0).client
    return Place(
        lambda config: RedisBus(bus_url, site, config),
        lambda stream, fields: client.xadd(site_key(site, stream.value), fields),
        client.flushall,
    )


@pytest.fixture
def bus(place: Place) -> Bus:
    return place.connect(BusConfig())
