"""Questions while the model changes: answered all the time, each by one model, by the serving one once it is there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from pipeline.adapters.blobs import MemoryBlobs
from pipeline.adapters.store import SqlStore
from pipeline.contracts import F32
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.search.people import PeopleSearch
from pipeline.search.query import Filters
from services.search_models import SearchModels
from services.site_models import SiteModels
from tests.fakes import HandClock
from tests.small_site import NOW, PAINTED_PEOPLE, WardrobeEncoder, file_store, record

OLD, NEW = "old-model", "new-model"
KEEP_S = 100.0


class Turned(WardrobeEncoder):
    """Vectors of this digest are comparable with nobody else's: their order is the digest's own."""

    calibration = None

    def __init__(self, digest: str) -> None:
        self.digest = digest

    def embed_texts(self, sentences: list[str]) -> F32:  # type: ignore[override]
        return self._turned(super().embed_texts(sentences))

    def embed_images(self, crops: list) -> object:  # type: ignore[override, type-arg]
        seen = super().embed_images(crops)
        return type(seen)(self._turned(seen.appearance), self._turned(seen.language))

    def _turned(self, vectors: F32) -> F32:
        return -vectors[:, ::-1] if self.digest == NEW else vectors


class Site:
    """`SiteModels` with set answers; loading waits until it may."""

    def __init__(self) -> None:
        self.wanted_digest = OLD
        self.may_load = threading.Event()
        self.may_load.set()
        self.broken: set[str] = set()

    def wanted(self) -> str:
        return self.wanted_digest

    def load(self, digest: str) -> Turned:
        assert self.may_load.wait(20)
        if digest in self.broken:
            raise ConfigurationError("torn")
        return Turned(digest)

    def load_wanted(self) -> Turned:
        return self.load(self.wanted_digest)


class Setting:
    def __init__(self, store: SqlStore) -> None:
        self.store, self.site, self.clock = store, Site(), HandClock(NOW)
        self.serve(OLD)

    def serve(self, digest: str) -> None:
        record(self.store, MemoryBlobs(), PAINTED_PEOPLE, Turned(digest))
        number = len(self.store.model_switches(9))
        assert self.store.switch_model(digest, number, self.clock.now(), "test") is not None

    def begin(self) -> SearchModels:
        return SearchModels(cast(SiteModels, self.site), self.store, self.clock, KEEP_S)

    def settle(self, models: SearchModels) -> None:
        for _ in range(4):
            self.clock.sleep(10.0)
            models.follow()
            models._shelf.close()


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    setting = Setting(file_store(tmp_path))
    yield setting
    setting.store.close()


def red(models: SearchModels, store: SqlStore) -> int:
    answer = PeopleSearch(store, models).by_text("red", Filters(), 1, with_weak=True)
    return answer.people[0].global_id


def test_the_successor_is_loaded_before_it_serves_and_takes_over_with_the_database(setting: Setting) -> None:
    models = setting.begin()
    setting.site.wanted_digest = NEW
    setting.settle(models)
    assert (models().digest, models._shelf.get(NEW) is not None) == (OLD, True)
    setting.serve(NEW)
    assert models().digest == OLD
    models.follow()
    assert models().digest == NEW
    assert red(models, setting.store) == 1


def test_until_the_serving_model_is_loaded_the_former_one_answers(setting: Setting) -> None:
    models = setting.begin()
    setting.site.may_load.clear()
    setting.serve(NEW)
    for _ in range(3):
        models.follow()
        assert (models().digest, red(models, setting.store)) == (OLD, 1)
    setting.site.may_load.set()
    setting.settle(models)
    assert (models().digest, red(models, setting.store)) == (NEW, 1)


def test_the_former_model_stays_for_a_rollback_and_is_then_let_go(setting: Setting) -> None:
    models = setting.begin()
    setting.serve(NEW)
    setting.site.wanted_digest = NEW
    setting.settle(models)
    assert models._shelf.digests() == (NEW, OLD)
    setting.clock.sleep(KEEP_S)
    setting.settle(models)
    assert models._shelf.digests() == (NEW,)


def test_an_api_that_is_started_alone_begins_with_what_serves(setting: Setting) -> None:
    setting.site.wanted_digest = NEW
    assert setting.begin()().digest == OLD


def test_where_the_serving_model_is_gone_the_wanted_one_answers_from_its_own_vectors(setting: Setting) -> None:
    setting.site.broken, setting.site.wanted_digest = {OLD}, NEW
    models = setting.begin()
    assert models().digest == NEW
    assert PeopleSearch(setting.store, models).by_text("red", Filters(), 9, with_weak=True).candidates == 0
    setting.site.broken = {OLD, NEW}
    with pytest.raises(ConfigurationError):
        setting.begin()


def test_while_the_database_is_away_the_follower_goes_on(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    models, stop, asked = setting.begin(), threading.Event(), []

    def away(limit: int) -> object:
        asked.append(limit)
        if len(asked) == 3:
            stop.set()
        raise Unavailable("away") if len(asked) < 3 else RuntimeError("a bug")

    monkeypatch.setattr(setting.store, "model_switches", away)
    monkeypatch.setattr("services.search_models.LOOK_EVERY_S", 0.0)
    models.keep_ready(stop)
    assert len(asked) == 3
    assert models().digest == OLD


def test_questions_are_answered_right_while_models_change_all_the_time(setting: Setting) -> None:
    models, wrong, stop = setting.begin(), [], threading.Event()
    for digest in (NEW, OLD):  # both have all vectors from here on
        setting.serve(digest)

    def ask() -> None:
        while not stop.is_set():
            if (found := red(models, setting.store)) != 1:
                wrong.append(found)

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    seen = set()
    for turn in range(20):
        setting.store.switch_model((NEW, OLD)[turn % 2], 3 + turn, setting.clock.now(), "test")
        setting.settle(models) if turn < 2 else models.follow()
        seen.add(models().digest)
    stop.set()
    for asker in askers:
        asker.join()
    assert (wrong, seen) == ([], {OLD, NEW})
