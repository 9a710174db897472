"""What a recipe may say, and what is told when it says something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigurationError
from reid_models.recipes.methods import method_config
from reid_models.recipes.schema import find_recipe, load_recipe, shipped_recipes


def refused(path: Path, text: str, **overrides: Any) -> str:
    with pytest.raises(ConfigurationError, match=text) as error:
        recipe, file = load_recipe(path, overrides)
        method_config(recipe, file, "cpu")
    return str(error.value)


def line_of(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_a_shipped_recipe_is_found_by_its_name_and_by_the_path_that_papers_would_print() -> None:
    shipped = shipped_recipes()["ccafl_msmt17"]
    for given in ("ccafl_msmt17", "ccafl_msmt17.yaml", "recipes/ccafl_msmt17.yaml"):
        assert find_recipe(given) == shipped


def test_a_file_goes_before_a_shipped_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path("recipes/ccafl_msmt17.yaml")
    own.parent.mkdir()
    own.write_text("method: ccafl\n")
    assert find_recipe("recipes/ccafl_msmt17.yaml") == own


def test_an_unknown_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"ccafl_mars is neither .* ccafl_market1501"):
        find_recipe("ccafl_mars")


def test_unknown_keys_are_told_with_file_line_and_the_known_ones(write: Any) -> None:
    path = write("ccafl", encoder={"strides": 16})
    told = refused(path, "unknown key")
    assert told.startswith(f"{path}:{line_of(path, 'strides')}: encoder.strides: unknown key; known here:")
    assert "stride" in told.split("known here:")[1]


def test_unknown_settings_are_told_likewise_at_any_depth(write: Any) -> None:
    path = write("ccafl", settings={"adversarial": {"margn": 0.5}})
    told = refused(path, "unknown key")
    assert told.startswith(f"{path}:{line_of(path, 'margn')}: settings.adversarial.margn: unknown key")
    assert "margin, same_camera_hardening, scale, smoothing" in told


def test_a_setting_of_another_type_is_told_with_its_line(write: Any) -> None:
    path = write("ccafl", settings={"prompt_epochs": "many"})
    told = refused(path, "valid integer")
    assert f"{path}:{line_of(path, 'many')}: settings.prompt_epochs" in told


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"method": "resnet"}, "'clip_reid', 'ccafl', 'cpcl', 'clip_fgdi' or 'small'"),
        ({"data": {"train": [{"reader": "mars", "path": "x"}]}}, "data set 'mars' is unknown; expected one of market"),
        ({"data": {"train": []}}, "at least 1 item"),
        ({"base": "vit"}, "base 'vit' of ccafl is unknown; expected one of market1501, dukemtmc, msmt17"),
        (
            {"encoder": {"cameras": 2}},
            "cameras is 2 with method ccafl .* camera vectors are for clip_reid",
        ),
        ({"precision": "float16"}, "'bfloat16' or 'float32'"),
    ],
)
def test_what_no_recipe_may_say(write: Any, changes: dict[str, Any], text: str) -> None:
    refused(write("ccafl", **changes), text)


def test_the_command_line_replaces_single_values(write: Any) -> None:
    recipe, _ = load_recipe(write("ccafl"), {"seed": 9, "encoder": {"source": "scratch/tiny_vit"}})
    assert (recipe.seed, recipe.encoder.source, recipe.encoder.image_size) == (9, "scratch/tiny_vit", (64, 32))


def test_size_device_seed_and_precision_reach_every_part_of_a_configuration(write: Any) -> None:
    recipe, file = load_recipe(write("clip_reid"))
    config = method_config(recipe, file, "cuda")
    assert config.prompts.image_size == (64, 32)
    assert config.images.loader.sizes == ((0, (64, 32)),)
    assert (config.prompts.device, config.images.device) == ("cuda", "cuda")
    assert (config.prompts.precision, config.seed) == ("float32", 3)
