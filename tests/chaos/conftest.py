"""The real server on the bus, over which processes die."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.adapters.redis_server import EmbeddedRedis


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url
