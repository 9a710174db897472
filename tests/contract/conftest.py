"""The databases on which the store keeps its promises. PostgreSQL takes part when SIGHTLINE_TEST_POSTGRESQL holds the
address of an empty database that may be wiped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.database import Database
from pipeline.adapters.store import SqlStore, upgrade

POSTGRESQL = os.environ.get("SIGHTLINE_TEST_POSTGRESQL")


@pytest.fixture(params=["memory", "file", *(["postgresql"] if POSTGRESQL else [])])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    if request.param == "memory":
        store = SqlStore.in_memory()
    elif request.param == "file":
        upgrade(url := f"sqlite:///{tmp_path / 'sightline.db'}")
        store = SqlStore(url)
    else:
        assert POSTGRESQL is not None
        database = Database(POSTGRESQL)
        database.upgrade()
        database.downgrade("base")
        database.upgrade()
        database.close()
        store = SqlStore(POSTGRESQL)
    yield store
    store.close()
