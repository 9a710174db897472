"""The comparison of label kinds: its broken tracks, its scores, and every variant on a miniature."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from reid_models.datasets.described import Source
from reid_models.datasets.market1501 import read_train
from reid_models.experiments import intra_camera, yardsticks
from reid_models.experiments.intra_camera import FULL, LINKED, UNION, UNLABELLED, VARIANTS, run_variant
from reid_models.experiments.runs import Results, RunResult
from reid_models.experiments.true_images import LaboratoryData, broken_tracks, read, seconds_of
from reid_models.experiments.yardsticks import ScoredStage


@pytest.fixture(scope="module")
def data(miniature: Source) -> LaboratoryData:
    torch.set_num_threads(1)
    return read(miniature.images)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few batches of a few people: the miniature has four, in two cameras."""
    light = replace(
        intra_camera.LIGHT, identities_per_batch=4, images_per_identity=2, batches_per_epoch=2, warm_up_epochs=2,
        prompt_epochs=1, intra_epochs=1, inter_epochs=2, text_from_epoch=1, adversarial_epochs=(1, 3),
    )  # fmt: skip
    monkeypatch.setattr(intra_camera, "LIGHT", light)
    monkeypatch.setattr(intra_camera, "WARM_UP", 2)
    for name, value in (("EPOCHS", 2), ("BATCHES", 2), ("IDENTITIES", 4), ("IMAGES", 2)):
        monkeypatch.setattr(yardsticks, name, value)


@pytest.mark.parametrize("name", [FULL, UNION, *VARIANTS])
@pytest.mark.usefixtures("quick")
def test_every_variant_trains_and_is_scored(name: str, data: LaboratoryData, tmp_path: Path) -> None:
    result = run_variant(name, data, 0, tmp_path)
    assert (result.variant, result.seed) == (name, 0)
    assert result.scores.keys() == {"mAP", "rank-1"} and 0 < result.scores["mAP"] <= 1
    assert ("pair_precision" in result.figures) == (name in VARIANTS)
    assert ("link_precision" in result.figures) == (name in LINKED)


def test_an_unknown_variant_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"no variant 'best'; the known ones: {FULL}; {UNION}; {UNLABELLED}"):
        intra_camera.main(tmp_path, tmp_path / "results.json", ["best"])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=60), st.floats(0, 1))
def test_broken_tracks_are_halves_in_time_of_as_many_people_as_asked(
    images: list[tuple[int, int]], share: float
) -> None:
    identities, cameras = np.array(sorted(images)).T
    tracks = broken_tracks(identities, cameras, share, np.random.default_rng(0))
    broken, people = 0, sorted(set(images))
    for person in people:
        members = np.flatnonzero((identities == person[0]) & (cameras == person[1]))
        pieces = tracks[members]
        assert len(set(pieces.tolist())) <= 2
        if len(set(pieces.tolist())) == 2:
            broken += 1
            # One piece is over before the other begins, and they are halves.
            assert (np.diff(pieces) != 0).sum() == 1
            assert abs(int((pieces == pieces[0]).sum()) - int((pieces != pieces[0]).sum())) <= 1
    singles = sum(images.count(person) == 1 for person in people)
    assert round(share * len(people)) - singles <= broken <= round(share * len(people))
    assert len(set(tracks.tolist())) == len(people) + broken


def test_seconds_follow_the_frame_numbers(miniature: Source) -> None:
    samples = read_train(miniature.images)
    seconds = dict(zip([sample.file_name for sample in samples], seconds_of(samples).tolist(), strict=True))
    assert seconds["0001_c1s1_000100_01.jpg"] - seconds["0001_c1s1_000000_00.jpg"] == 4.0


def test_watching_counts_pairs_of_classes() -> None:
    stage = object.__new__(ScoredStage)
    stage.components = np.array([0, 0, 0, 1, 1, -1, -1])
    stage.truth = np.array([0, 0, 1, 2, 2, 3, 3])
    figures = stage.figures()
    assert figures["pair_precision"] == 2 / 4 and figures["pair_recall"] == 2 / 3
    assert figures["linked_share"] == 5 / 7


def test_results_outlive_a_break_and_show_mean_and_spread(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for seed, score in enumerate((0.4, 0.5, 0.6)):
        Results(path).add(RunResult("CCAFL", seed, {"mAP": score}, {}, 1.0))
    Results(path).add(RunResult("other", 0, {"mAP": 0.25}, {}, 1.0))
    results = Results(path)
    assert results.has("CCAFL", 2) and not results.has("other", 2)
    assert results.table(("mAP",)).splitlines()[2:] == ["| CCAFL | 3 | 50.0 ± 10.0 |", "| other | 1 | 25.0 |"]
