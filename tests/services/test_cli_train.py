"""`sightline train` and `sightline evaluate recipe` as their user meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from pipeline.errors import ConfigurationError
from services.training import TrainingOrder, duration, opened
from tests.services.command import Sightline

RECIPE = {
    "title": "tiny CLIP-ReID", "method": "clip_reid", "base": "rn50", "precision": "float32", "device": "cpu",
    "encoder": {"source": "scratch/person_cnn_tiny", "image_size": [32, 16]},
    "data": {"train": [{"reader": "market1501", "path": "people", "is_part": True}]},
    "settings": {
        "prompts": {"epochs": 1, "batch": 8},
        "images": {"epochs": 1, "identities_per_batch": 4, "images_per_identity": 2},
    },
    "expected": {"source": "nobody", "metrics": {"rank_1": 0.5}},
}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, and eight people of whom half are for training."""
    root = tmp_path_factory.mktemp("laboratory")
    rng = np.random.default_rng(0)
    for identity in range(1, 9):
        for camera in (1, 2):
            for box in range(3):
                part = "bounding_box_train" if identity < 5 else "query" if box == 0 else "bounding_box_test"
                path = root / "data" / "people" / part / f"{identity:04d}_c{camera}s1_{box:06d}_00.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), rng.integers(0, 256, (32, 16, 3), dtype=np.uint8))
    (root / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    return root


def test_a_run_is_planned_stopped_continued_and_evaluated_again(site: Path, sightline: Sightline) -> None:
    planned = sightline(site, "train", "tiny.yaml", "--data-dir", "data", "--dry-run")
    assert planned.code == 0, planned.errors
    assert "24 images, 4 identities, 2 cameras, 8 identities within cameras" in planned.out
    assert "Nothing is missing." in planned.out
    assert not (site / "runs").exists()
    stopped = sightline(site, "train", "tiny.yaml", "--data-dir", "data", "--stop-after-epochs", "1")
    assert stopped.code == 0, stopped.errors
    assert "Stopped after 1 of 2 epochs" in stopped.out
    ended = sightline(site, "train", "tiny.yaml", "--data-dir", "data")
    assert ended.code == 0, ended.errors
    assert "published by others" in ended.out and "Theirs: nobody" in ended.out
    results = json.loads((site / "runs" / "tiny-0" / "results.json").read_text())
    assert results["published_by_others"]["metrics"] == {"rank_1": 0.5}
    again = sightline(
        site, "evaluate", "recipe", "tiny.yaml", "--data-dir", "data", "--re-ranking", "--k1", "4", "--k2", "2",
        "--json", "again.json",
    )  # fmt: skip
    assert again.code == 0, again.errors
    figures = json.loads((site / "again.json").read_text())
    assert {name: figures[name] for name in results["metrics"]} == pytest.approx(results["metrics"])
    assert "re_ranked_mean_average_precision" in figures


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "recipes/ccafl_mars.yaml"], "neither a file nor a shipped recipe"),
        (["train", "recipes/ccafl_msmt17.yaml"], "datasets/MSMT17_V1: nothing is there"),
        (["train", "ccafl_msmt17", "--data", "mars=x"], "where READER is one of msmt17"),
        (["evaluate", "recipe", "ccafl_msmt17"], "nothing is there"),
    ],
)
def test_what_cannot_work_ends_with_code_2_and_a_remedy(
    tmp_path: Path, sightline: Sightline, arguments: list[str], told: str
) -> None:
    done = sightline(tmp_path, *arguments)
    assert done.code == 2, done.errors
    assert told in done.errors


def test_mistakes_in_a_recipe_and_missing_data_are_told_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['sightline', 'train', 'ccafl_msmt17']\n"
        "import services.cli\n"
        "try: services.cli.main()\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "False"


def test_help_says_what_a_recipe_takes(tmp_path: Path, sightline: Sightline) -> None:
    for arguments in (["train"], ["evaluate", "recipe"]):
        told = sightline(tmp_path, *arguments, "--help").out
        for key in ("method", "encoder", "data", "settings", "evaluation", "expected", "--data-dir", "--partial"):
            assert key in told


def test_the_shipped_recipes_are_listed(tmp_path: Path, sightline: Sightline) -> None:
    listed = sightline(tmp_path, "train", "list").out
    assert "ccafl_msmt17" in listed and "CCAFL with ResNet-50 on MSMT17" in listed


def test_a_single_data_set_may_lie_elsewhere(tmp_path: Path) -> None:
    order = TrainingOrder(
        "clip_fgdi_p2_cuhk03",
        Path("sets"),
        ("cuhk03=/else/c3", "market1501.captions=/else/captions.json"),
        partial=True,
    )
    _, recipe, _ = opened(order)
    assert [str(source.path) for source in recipe.data.train] == [
        "sets/Market-1501-v15.09.15", "sets/MSMT17_V1", "sets/cuhk_sysu",
    ]  # fmt: skip
    assert str(recipe.evaluation.data[0].path) == "/else/c3"
    assert str(recipe.data.train[0].captions) == "/else/captions.json"
    assert all(source.is_part for source in (*recipe.data.train, *recipe.evaluation.data))


@pytest.mark.parametrize("text", ["mars=/x", "market1501", "market1501=", "market1501.masks=/x"])
def test_data_that_cannot_be_placed_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not understood; expected READER=PATH"):
        opened(TrainingOrder("ccafl_market1501", Path(), (text,)))


@pytest.mark.parametrize(
    ("seconds", "told"), [(95.4, "95 s"), (600.0, "10 min"), (9000.0, "2.5 h"), (360000.0, "4.2 days")]
)
def test_durations_are_told_in_a_fitting_unit(seconds: float, told: str) -> None:
    assert duration(seconds) == told
