"""What holds for all tests, and the servers that are started once for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.postgresql_server import PostgresqlServer, programs
from tests.redis_cluster import RedisCluster

# Processes of pytest-xdist are told the width of the terminal of the first; commands would take it for good.
os.environ.pop("COLUMNS", None)

# No test asserts a time: the machine may be busy with something else.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    pytest.importorskip("psycopg", reason="no client for PostgreSQL is installed: pip install 'sightline[postgresql]'")
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL server is installed: apt-get install postgresql")
    with PostgresqlServer(found) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
