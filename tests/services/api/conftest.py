"""The application over a small archive of people, on a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC

import pytest
from fastapi.testclient import TestClient

from services.api.app import create_app
from services.api.dependencies import ApiDependencies
from tests.fakes import HandClock
from tests.small_site import NOW, SmallSite, small_site


@pytest.fixture
def site() -> SmallSite:
    return small_site()


@pytest.fixture
def deps(site: SmallSite) -> ApiDependencies:
    return ApiDependencies(
        search=site.search,
        blobs=site.blobs,
        board=site.board,
        corrections=site.store,
        alerts=site.alerts,
        clock=HandClock(NOW),
        zone=UTC,
    )


@pytest.fixture
def client(deps: ApiDependencies) -> Iterator[TestClient]:
    with TestClient(create_app(deps), base_url="http://localhost", follow_redirects=False) as client:
        yield client
