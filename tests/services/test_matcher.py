from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.adapters.model_board import MemoryModelBoard
from pipeline.contracts import LoadedModels, ServingModel
from pipeline.errors import Unavailable
from pipeline.matching.looks import LookPrior
from pipeline.matching.worker import MatcherConfig
from reid_models.manifest import DEFAULT_BUNDLE, read_manifest
from services.matcher import MatcherModels, bus_config, have_loaded, prior_of
from services.settings import Settings
from services.site_models import SiteModels
from tests.fakes import HandClock


def test_the_matcher_starts_without_torch() -> None:
    code = "import sys, services.matcher; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_looks_are_weighed_by_what_the_manifest_has_measured() -> None:
    shipped = read_manifest(DEFAULT_BUNDLE)
    assert shipped.calibration is not None and shipped.calibration.strangers is not None
    measured = shipped.calibration.strangers
    found = prior_of(shipped)
    assert (found.mean, found.deviation, found.curves.tolist()) == (
        measured.mean,
        measured.deviation,
        [list(curve) for curve in measured.curves],
    )


def test_a_model_of_which_only_its_curve_is_known_is_weighed_by_that() -> None:
    shipped = read_manifest(DEFAULT_BUNDLE)
    assert shipped.calibration is not None
    curve = shipped.calibration.appearance
    older = shipped.model_copy(update={"calibration": shipped.calibration.model_copy(update={"strangers": None})})
    found, plain = prior_of(older), LookPrior()
    even_at = found.mean + 2.0 * found.deviation
    assert even_at == pytest.approx(-curve.intercept / curve.slope)
    for unknown in (None, shipped.model_copy(update={"calibration": None})):
        assert (prior_of(unknown).mean, prior_of(unknown).deviation) == (plain.mean, plain.deviation)


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
    no_bundle = MatcherModels(unknown, Away(), HandClock(NOW))
    assert no_bundle.wanted() is None  # only embedders know its digest
    no_bundle.announce(ServingModel(digest=OLD, since_at=NOW))
    site = SiteModels(Settings(data_dir=tmp_path))
    models = MatcherModels(site, Away(), HandClock(NOW))
    shipped = models.wanted()
    assert shipped is not None and models.prior(shipped).mean != models.prior(OLD).mean
    assert not models.is_ready(shipped)
    models.announce(ServingModel(digest=shipped, since_at=NOW))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "serving.json").write_text("torn")
    assert models.wanted() is None
    with pytest.raises(Unavailable):
        models.has_known(OLD)


def test_what_was_in_hand_comes_back_as_one_batch() -> None:
    assert bus_config(MatcherConfig(batch_tracklets=17)).redelivery_count == 17
