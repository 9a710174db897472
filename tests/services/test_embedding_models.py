"""Which encoders the embedder works with, while board and registry say this and that, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from pipeline.adapters.model_board import MemoryModelBoard
from pipeline.contracts import ServingModel
from pipeline.errors import ConfigurationError, Unavailable
from services.embedding_models import EmbeddingModels, EmbeddingModelsConfig
from services.site_models import SiteModels
from tests.fakes import ColourEncoder, HandClock

OLD, NEW = "old-model", "new-model"
CONFIG = EmbeddingModelsConfig("embedder-1", keep_previous_s=100.0)


class Site:
    """`SiteModels` with set answers; what is `broken` cannot be loaded."""

    def __init__(self, wanted: str, before: str | None = None) -> None:
        self.pointer: tuple[str | None, str | None] = (wanted, before)
        self.broken: set[str] = set()
        self.loaded: list[str] = []
        self.is_readable = True

    def wanted(self) -> str | None:
        if not self.is_readable:
            raise ConfigurationError("torn")
        return self.pointer[0]

    def wanted_before(self) -> str | None:
        return self.pointer[1]

    def load(self, digest: str) -> ColourEncoder:
        if digest in self.broken:
            raise ConfigurationError(f"{digest} is torn")
        self.loaded.append(digest)
        return ColourEncoder(digest)

    def load_wanted(self) -> ColourEncoder:
        return ColourEncoder("no-bundle")


class Setting:
    def __init__(self, wanted: str, before: str | None = None, serving: str | None = None) -> None:
        self.clock = HandClock()
        self.site, self.board = Site(wanted, before), MemoryModelBoard(self.clock.now)
        if serving is not None:
            self.serve(serving)

    def serve(self, digest: str, previous: str | None = None) -> None:
        self.board.announce(ServingModel(digest=digest, since_at=self.clock.now(), previous=previous))

    def begin(self) -> EmbeddingModels:
        return EmbeddingModels(cast(SiteModels, self.site), self.board, self.clock, CONFIG)

    def digests(self, models: EmbeddingModels) -> list[str]:
        """What is in force once everything is loaded."""
        for _ in range(3):
            self.clock.sleep(CONFIG.look_every_s)
            models()
            models.close()
        self.clock.sleep(CONFIG.look_every_s)
        return [encoder.digest for encoder in models()]

    def reported(self) -> tuple[str, ...]:
        return self.board.reports()[0].digests


def test_a_promotion_is_followed_and_the_former_model_kept_for_a_time() -> None:
    setting = Setting(OLD, serving=OLD)
    models = setting.begin()
    assert setting.digests(models) == [OLD]
    setting.site.pointer = (NEW, OLD)
    assert setting.digests(models) == [OLD, NEW]
    assert setting.reported() == (OLD, NEW)
    setting.serve(NEW, OLD)
    assert setting.digests(models) == [NEW, OLD]
    setting.clock.sleep(CONFIG.keep_previous_s)
    assert setting.digests(models) == [NEW]
    assert setting.reported() == (NEW,)


def test_an_embedder_that_is_started_alone_after_a_promotion_begins_with_what_serves() -> None:
    setting = Setting(NEW, OLD, serving=OLD)
    models = setting.begin()
    assert setting.site.loaded == [OLD]
    assert models()[0].digest == OLD
    assert setting.digests(models) == [OLD, NEW]


def test_while_nobody_says_what_serves_both_are_in_force() -> None:
    setting = Setting(NEW, OLD)
    models = setting.begin()
    assert setting.digests(models) == [NEW, OLD]
    setting.serve(OLD)
    assert setting.digests(models) == [OLD, NEW]


def test_a_successor_that_cannot_be_loaded_leaves_the_serving_model_at_work() -> None:
    setting = Setting(NEW, OLD, serving=OLD)
    setting.site.broken = {NEW}
    models = setting.begin()
    assert setting.digests(models) == [OLD]
    assert setting.reported() == (OLD,)
    setting.site.broken = set()
    setting.clock.sleep(60.0)
    assert setting.digests(models) == [OLD, NEW]


def test_where_the_serving_model_is_gone_the_wanted_one_works() -> None:
    setting = Setting(NEW, OLD, serving=OLD)
    setting.site.broken = {OLD}
    assert setting.digests(setting.begin()) == [NEW]
    setting.site.broken = {OLD, NEW}
    with pytest.raises(ConfigurationError, match=f"{OLD} is torn"):
        setting.begin()


def test_a_model_that_is_no_bundle_is_loaded_by_its_name() -> None:
    setting = Setting(OLD)
    setting.site.pointer = (None, None)
    assert setting.digests(setting.begin()) == ["no-bundle"]


def test_a_model_that_gives_no_vectors_is_not_reported() -> None:
    setting = Setting(NEW, OLD, serving=OLD)
    models = setting.begin()
    setting.digests(models)
    models.works(ColourEncoder(NEW), False)
    assert (setting.digests(models), setting.reported()) == ([OLD, NEW], (OLD,))
    models.works(ColourEncoder(NEW), True)
    assert (setting.digests(models), setting.reported()) == ([OLD, NEW], (OLD, NEW))


def test_with_board_and_registry_away_everything_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(NEW, OLD, serving=OLD)
    models = setting.begin()
    assert setting.digests(models) == [OLD, NEW]
    setting.site.is_readable = False

    def away(*_: object) -> None:
        raise Unavailable("away")

    silent: list[tuple[str, Callable[..., None]]] = [("serving", away), ("report", away)]
    for name, method in silent:
        monkeypatch.setattr(setting.board, name, method)
    assert setting.digests(models) == [OLD, NEW]
