"""What holds for all tests, and the servers that are started once for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.postgresql_server import PostgresqlServer, programs
from tests.redis_cluster import RedisCluster

# Processes of pytest-xdist are told the width of the terminal of the first; commands would take it for good.
os.environ.pop("COLUMNS", None)

# No test asserts a time: the machine may be busy with something else.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, by the time they may take: shared out last, one would run on alone."""
    longest_s: dict[Path, float] = {}
    for item in items:
        allowed = item.get_closest_marker("timeout")
        slow_s = float(allowed.args[0] if allowed else 1.0) if item.get_closest_marker("slow") else 0.0
        longest_s[item.path] = max(longest_s.get(item.path, 0.0), slow_s)
    items.sort(key=lambda item: -longest_s[item.path])


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
