"""The databases on which the store keeps its promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.store import SqlStore, upgrade
from tests.postgresql_server import PostgresqlServer


@pytest.fixture(params=["memory", "file", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    if request.param == "memory":
        store = SqlStore.in_memory()
    elif request.param == "file":
        upgrade(url := f"sqlite:///{tmp_path / 'sightline.db'}")
        store = SqlStore(url)
    else:
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        store = SqlStore(server.wiped_database())
    yield store
    store.close()
