"""Recipes from file to figures: every method end to end on a miniature, resumed, refused, kept."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from pipeline.errors import ConfigurationError
from reid_models.checkpoints import CHECKPOINT
from reid_models.inference import load_encoder
from reid_models.re_ranking import ReRankingConfig
from reid_models.recipes.run import (
    BUNDLE,
    EFFECTIVE,
    RESULTS,
    Experiment,
    Outcome,
    evaluate_run,
    open_experiment,
    run_experiment,
)
from reid_models.recipes.schema import load_recipe
from reid_models.recipes.sources import read_training, require_files, with_located_sources

TODAY = date(2026, 1, 2)
IMAGE_FIGURES = {
    "mean_average_precision", "mean_inverse_negative_penalty", "rank_1", "rank_5", "rank_10",
}  # fmt: skip


def experiment(path: Path, folder: Path, **overrides: Any) -> Experiment:
    recipe, file = load_recipe(path, overrides)
    return open_experiment(path.stem, recipe, file, folder)


def trained(path: Path, folder: Path, stop_after_epochs: int | None = None, **overrides: Any) -> Outcome:
    return run_experiment(experiment(path, folder, **overrides), folder, TODAY, stop_after_epochs)


@pytest.mark.parametrize("method", ["clip_reid", "ccafl", "cpcl", "clip_fgdi", "small"])
def test_every_method_trains_to_a_result_that_is_found_again(method: str, write: Any, tmp_path: Path) -> None:
    path, folder = write(method), tmp_path / "run"
    outcome = trained(path, folder)
    assert outcome.metrics is not None
    assert outcome.epochs_done == outcome.epochs
    assert set(outcome.metrics) >= IMAGE_FIGURES
    assert all(0 <= value <= 1 for value in outcome.metrics.values())
    results = json.loads((folder / RESULTS).read_text())
    assert results["metrics"] == outcome.metrics
    assert (results["seed"], results["published_by_others"]) == (3, None)
    assert load_recipe(folder / EFFECTIVE)[0] == load_recipe(path)[0]
    assert evaluate_run(experiment(path, folder), folder, None) == pytest.approx(outcome.metrics)


@pytest.mark.parametrize("cameras", [1, 2, 3])
def test_camera_vectors_need_the_number_of_cameras_and_serve_the_test(cameras: int, write: Any, tmp_path: Path) -> None:
    path = write("clip_reid", encoder={"cameras": cameras})
    if cameras == 2:
        metrics = trained(path, tmp_path / "run").metrics
        assert metrics is not None and metrics["mean_average_precision"] > 0
    else:
        with pytest.raises(ConfigurationError, match=f"cameras is {cameras}, but the training images come from 2"):
            trained(path, tmp_path / "run")


def test_a_bundle_is_kept_where_the_text_side_has_learnt(write: Any, tmp_path: Path) -> None:
    outcome = trained(write("cpcl"), tmp_path / "run")
    assert outcome.bundle == tmp_path / "run" / BUNDLE
    encoder = load_encoder(outcome.bundle, "cpu")
    assert encoder.embed_texts(["a man in a red shirt"]).shape == (1, encoder.manifest.language_width)
    assert encoder.manifest.metrics["rank_1"] == pytest.approx(outcome.metrics["rank_1"], abs=1e-4)  # type: ignore[index]
    assert encoder.manifest.created == "2026-01-02"


def test_no_bundle_is_kept_of_a_text_tower_that_never_learnt(write: Any, tmp_path: Path) -> None:
    outcome = trained(write("ccafl"), tmp_path / "run")
    assert outcome.bundle is None
    assert "never teaches its text tower" in str(outcome.no_bundle_because)
    assert not (tmp_path / "run" / BUNDLE).exists()


def test_a_stopped_run_goes_on_to_the_same_weights(write: Any, tmp_path: Path) -> None:
    path = write("ccafl")
    trained(path, tmp_path / "whole")
    for epochs in (1, 2):
        outcome = trained(path, tmp_path / "parts", epochs)
        assert (outcome.epochs_done, outcome.metrics) == (epochs, None)
    trained(path, tmp_path / "parts")
    whole, parts = (load_file(tmp_path / folder / CHECKPOINT) for folder in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(bool((whole[name] == parts[name]).all()) for name in whole)


def test_a_checkpoint_of_another_recipe_seed_or_data_set_is_refused(write: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trained(write("ccafl"), folder, stop_after_epochs=1)
    with pytest.raises(ConfigurationError, match=r"checkpoint of another configuration: settings is .*0\.9.* here"):
        trained(write("ccafl", settings={"momentum": 0.9}), folder)
    with pytest.raises(ConfigurationError, match="another configuration: seed is 3 there and 4 here"):
        trained(write("ccafl"), folder, seed=4)
    with pytest.raises(ConfigurationError, match="another configuration: images is 'train' there and 'all' here"):
        trained(write("ccafl", data={"images": "all"}), folder)


def test_re_ranked_figures_stand_apart(write: Any, tmp_path: Path) -> None:
    path, folder = write("clip_reid"), tmp_path / "run"
    outcome = trained(path, folder)
    assert outcome.metrics is not None
    scores = evaluate_run(experiment(path, folder), folder, ReRankingConfig(k1=4, k2=2))
    assert set(scores) == IMAGE_FIGURES | {f"re_ranked_{name}" for name in IMAGE_FIGURES}
    assert {name: scores[name] for name in IMAGE_FIGURES} == pytest.approx(outcome.metrics)


def test_evaluation_needs_a_checkpoint(write: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="train there first"):
        evaluate_run(experiment(write("ccafl"), tmp_path / "none"), tmp_path / "none", None)


def test_several_sources_are_told_apart_and_the_scores_of_several_sets_are_averaged(write: Any, tmp_path: Path) -> None:
    path = write("ccafl")
    first = load_recipe(path)[0].data.train[0].model_dump(mode="json")
    path = write("ccafl", data={"train": [first, first]})
    data = read_training(load_recipe(path)[0].data, "ccafl")
    assert sorted(set(data.identities.tolist())) == list(range(8))
    assert sorted(set(data.cameras.tolist())) == [0, 1, 2, 3]
    assert sorted(set(data.domains.tolist())) == [0, 1]


def test_missing_data_are_all_named_at_once(write: Any, tmp_path: Path) -> None:
    train = [{"reader": "market1501", "path": name} for name in ("one", "two")]
    recipe, _ = load_recipe(write("ccafl", data={"train": train}))
    with pytest.raises(ConfigurationError, match=r"sets/one, sets/two: nothing is there; .*--data-dir"):
        require_files(with_located_sources(recipe, Path("sets")))


def test_a_data_set_that_is_not_whole_is_refused_unless_it_is_said_to_be_a_part(write: Any, tmp_path: Path) -> None:
    source = load_recipe(write("ccafl"))[0].data.train[0].model_dump(mode="json")
    path = write("ccafl", data={"train": [{**source, "is_part": False}]})
    with pytest.raises(ConfigurationError, match=r"market1501 .* is not complete: train_identities 4 instead of 751"):
        experiment(path, tmp_path / "run")


def test_unknown_towers_are_refused_with_the_known_ones(write: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"encoder 'resnet18' is unknown; .*person_cnn_light.*tiny_vit"):
        experiment(write("ccafl", encoder={"source": "scratch/resnet18"}), tmp_path / "run")
    with pytest.raises(ConfigurationError, match=r"light tower 'person_cnn_huge' is unknown"):
        experiment(write("ccafl", encoder={"source": "scratch/person_cnn_huge"}), tmp_path / "run")


def test_missing_weights_are_told_with_both_ways_out(write: Any, tmp_path: Path) -> None:
    path = write("ccafl", encoder={"source": "RN50//nowhere/weights.pt"})
    with pytest.raises(ConfigurationError, match=r"--encoder.*RN50//path/to/weights\.pt .*scratch/person_cnn_light"):
        experiment(path, tmp_path / "run")
