"""A plan before a training: what it counts, and that it needs neither data nor weights."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from reid_models.recipes import costs
from reid_models.recipes.plan import Plan, make_plan
from reid_models.recipes.schema import find_recipe, load_recipe
from reid_models.recipes.sources import with_located_sources
from reid_models.recipes.towers import missing_weights

TINY = {"source": "scratch/tiny_vit", "pooling": "tower", "image_size": (64, 32)}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "SOON_S", 0.0)


def plan_of(name: str, tmp_path: Any, encoder: dict[str, Any] = TINY) -> Plan:
    recipe, file = load_recipe(find_recipe(name), {"encoder": encoder})
    return make_plan(with_located_sources(recipe, tmp_path), file)


@pytest.mark.parametrize(
    ("name", "images", "stages"),
    [
        ("ccafl_market1501", 12936, {"prompts": (60, 203, 64), "intra": (5, 200, 128), "inter": (75, 200, 128)}),
        ("ccafl_msmt17", 32621, {"prompts": (60, 510, 64), "intra": (5, 200, 256), "inter": (75, 200, 256)}),
        ("clip_reid_vit_dukemtmc", 16522, {"prompts": (120, 259, 64), "images": (60, None, 64)}),
        ("clip_fgdi_p2_cuhk03", 12936 + 30248 + 34574, {
            "warm_up": (3, None, 128), "invariant_prompts": (120, 608, 128), "relevant_prompts": (30, 608, 128),
            "images": (60, None, 128),
        }),
        ("info_nce_rstpreid", 18505, {"pairs": (60, 578, 64)}),
    ],
)  # fmt: skip
def test_published_rows_are_planned_without_data(name: str, images: int, stages: dict[str, Any], tmp_path: Any) -> None:
    plan = plan_of(name, tmp_path)
    assert not plan.is_read
    assert sum(sizes.images for sizes in plan.sizes) == images
    found = {stage.name: (stage.epochs, stage.steps, stage.batch) for stage in plan.stages}
    assert found.keys() == stages.keys()
    for stage, (epochs, steps, batch) in stages.items():
        assert found[stage][::2] == (epochs, batch)
        # Every image about once an epoch, where people differ in their number of images.
        assert found[stage][1] == steps or (steps is None and 0.8 < found[stage][1] * batch / images <= 1.3)
    assert plan.seconds > 0
    assert all(value >= 0 for value in plan.memory_bytes.values())
    assert all("nothing is there" in lack for lack in plan.missing) and plan.missing


def test_all_intra_camera_identities_of_market1501_are_classes(tmp_path: Any) -> None:
    (sizes,) = plan_of("ccafl_market1501", tmp_path).sizes
    assert (sizes.identities, sizes.intra_camera_identities, sizes.cameras) == (751, 3262, 6)


def test_protocol_1_counts_the_people_of_training_and_test(tmp_path: Any) -> None:
    plan = plan_of("clip_fgdi_p1", tmp_path)
    assert [sizes.identities for sizes in plan.sizes] == [1501, 1816, 1467, 11934]
    assert len(plan.missing) == 8


def test_weights_that_are_not_here_are_named_with_another_way(tmp_path: Any) -> None:
    assert missing_weights("scratch/tiny_vit") is None
    assert (
        missing_weights("RN50//nowhere/weights.pt") == "there is no file /nowhere/weights.pt with the weights of RN50"
    )
    assert "--encoder RN50//path/to/weights.pt" in str(missing_weights("RN50/openai"))
    present = tmp_path / "weights.pt"
    present.touch()
    assert missing_weights(f"RN50/{present}") is None


def test_data_that_are_there_are_counted(write: Any) -> None:
    recipe, file = load_recipe(write("ccafl"))
    plan = make_plan(recipe, file)
    assert plan.is_read and not plan.missing
    (sizes,) = plan.sizes
    assert (sizes.images, sizes.identities, sizes.cameras, sizes.intra_camera_identities) == (32, 4, 2, 8)
    assert plan.image_bytes == 32 * 64 * 32 * 3


def test_without_any_knowledge_of_the_data_parameters_are_told(tmp_path: Any) -> None:
    plan = plan_of("cpcl_market_light", tmp_path)
    assert (plan.sizes, plan.stages) == ((), ())
    assert plan.parameters > 0


def test_what_is_kept_for_the_way_back_is_counted_once_and_without_weights() -> None:
    import torch

    layer = nn.Linear(8, 4, bias=False)
    given = torch.ones(16, 8)
    # The input is kept for the gradient of the weight; squaring keeps its own input.
    assert costs.kept_bytes(layer, lambda: layer(given).pow(2).sum()) == 4 * (16 * 8 + 16 * 4)
