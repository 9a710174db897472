"""The database of a matcher that begins."""

from __future__ import annotations

import pytest

from pipeline.adapters.store import SqlStore


@pytest.fixture
def store() -> SqlStore:
    return SqlStore.in_memory()
