from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.adapters.model_board import MemoryModelBoard
from pipeline.contracts import LoadedModels, ServingModel
from pipeline.errors import Unavailable
from pipeline.matching.worker import MatcherConfig
from services.matcher import MatcherModels, assignment, bus_config, have_loaded
from services.settings import MatchingSettings, Settings
from services.site_models import SiteModels
from tests.fakes import HandClock


def test_the_matcher_starts_without_torch() -> None:
    code = "import sys, services.matcher; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_set_threshold_counts_where_the_model_says_nothing() -> None:
    assert assignment(MatchingSettings(threshold=0.7), None).threshold == 0.7
    assert assignment(MatchingSettings(), None).threshold == assignment(MatchingSettings(), None).midpoint


NOW = 1_700_000_000.0
OLD, NEW = "old-model", "new-model"


def loaded(*digests: str, ago_s: float = 1.0) -> LoadedModels:
    return LoadedModels(embedder="embedder-1", wanted=NEW, digests=digests, reported_at=NOW - ago_s)


@pytest.mark.parametrize(
    ("reports", "is_ready"),
    [
        ([], True),  # no embedder runs: none can give only the wrong vectors
        ([loaded(OLD, NEW)], True),
        ([loaded(OLD, NEW), loaded(OLD)], False),
        ([loaded(OLD, NEW, ago_s=20.0)], False),  # it was killed perhaps, and is being started again
    ],
)
def test_a_model_is_ready_when_every_embedder_that_may_be_there_has_loaded_it(
    reports: list[LoadedModels], is_ready: bool
) -> None:
    assert have_loaded(reports, NEW, NOW) == is_ready


def test_with_registry_and_board_away_nothing_changes(tmp_path: Path) -> None:
    class Away(MemoryModelBoard):
        def reports(self) -> list[LoadedModels]:
            raise Unavailable("away")

        def announce(self, serving: ServingModel) -> None:
            raise Unavailable("away")

    unknown = SiteModels(Settings.model_validate({"data_dir": tmp_path, "embedding": {"model": "ViT-B-16/openai"}}))
    no_bundle = MatcherModels(unknown, Away(), HandClock(NOW), MatchingSettings())
    assert no_bundle.wanted() is None  # only embedders know its digest
    no_bundle.announce(ServingModel(digest=OLD, since_at=NOW))
    site = SiteModels(Settings(data_dir=tmp_path))
    models = MatcherModels(site, Away(), HandClock(NOW), MatchingSettings())
    shipped = models.wanted()
    assert shipped is not None and models.assignment(shipped) != models.assignment(OLD)
    assert not models.is_ready(shipped)
    models.announce(ServingModel(digest=shipped, since_at=NOW))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "serving.json").write_text("torn")
    assert models.wanted() is None
    with pytest.raises(Unavailable):
        models.has_known(OLD)


def test_what_was_in_hand_comes_back_as_one_batch() -> None:
    assert bus_config(MatcherConfig(batch_tracklets=17)).redelivery_count == 17
