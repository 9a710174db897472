"""The re-embedder's surroundings: light while it waits, and with one model at a time when it works."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from pipeline.adapters.model_board import MemoryModelBoard
from pipeline.adapters.store import SqlStore
from pipeline.contracts import LoadedModels
from pipeline.errors import ConfigurationError
from services.reembedding import SiteTargets
from services.runtime import StoppableClock
from services.site_models import SiteModels
from tests.fakes import ColourEncoder

OLD, NEW = "old-model", "new-model"


class Site:
    """`SiteModels` with set answers."""

    def __init__(self) -> None:
        self.answer: str | ConfigurationError | None = NEW
        self.loaded: list[str] = []

    def wanted(self) -> str | None:
        if isinstance(self.answer, ConfigurationError):
            raise self.answer
        return self.answer

    def load(self, digest: str) -> ColourEncoder:
        self.loaded.append(digest)
        return ColourEncoder(digest)


@pytest.fixture
def store() -> Iterator[SqlStore]:
    store = SqlStore.in_memory()
    yield store
    store.close()


def test_it_waits_without_torch() -> None:
    code = "import sys, services.reembedding; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0


def test_the_database_says_what_serves_and_the_settings_what_is_wanted(store: SqlStore) -> None:
    site, board = Site(), MemoryModelBoard(lambda: 1.0)
    targets = SiteTargets(cast(SiteModels, site), store, board)
    assert (targets.serving(), targets.wanted()) == (None, NEW)
    store.switch_model(OLD, 0, 1.0, "first")
    assert targets.serving() == OLD
    site.answer = ConfigurationError("torn")
    assert targets.wanted() is None
    site.answer = None  # a model that is no bundle: the embedders know its digest
    board.report(LoadedModels(embedder="e", wanted="no-bundle", digests=(), reported_at=1.0))
    assert targets.wanted() == "no-bundle"


def test_one_model_is_held_at_a_time(store: SqlStore) -> None:
    site = Site()
    targets = SiteTargets(cast(SiteModels, site), store, MemoryModelBoard())
    assert targets.open(OLD) is targets.open(OLD)
    targets.open(NEW)
    targets.open(OLD)
    targets.let_go()
    targets.let_go()
    targets.open(OLD)
    assert site.loaded == [OLD, NEW, OLD, OLD]


def test_a_long_rest_ends_when_the_service_is_asked_to_stop() -> None:
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    began_s = time.monotonic()
    StoppableClock(stop).sleep(60.0)
    assert stop.is_set() and time.monotonic() - began_s < 30.0
