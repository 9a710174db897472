"""The detector learns what it is shown, and is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import BatchNorm2d

from pipeline.errors import ConfigurationError
from reid_models.checkpoints import CHECKPOINT
from reid_models.detection.composition import Composer, CompositionConfig, Material
from reid_models.detection.material import material_of
from reid_models.detection.network import NetworkConfig
from reid_models.detection.scoring import choose_score, find
from reid_models.detection.training import DetectorRecipe, Detectors, detection_method, load_smoothed
from reid_models.trainer import Run, TrainerConfig, train
from tests.detection_figures import figure, ground, walk

TINY = NetworkConfig(channels=(8, 16, 16, 32, 32), blocks=(1, 1, 1, 1), neck=16)
RECIPE = DetectorRecipe(
    epochs=4,
    batches_per_epoch=30,
    batch=4,
    learning_rate=4e-3,
    sizes=((96, 128),),
    smoothing=0.9,
    network=TINY,
    trainer=TrainerConfig(precision="float32"),
)


@pytest.fixture(scope="module")
def material() -> Material:
    return Material([walk()], [ground(np.random.default_rng(9))], [[figure()]])


@pytest.mark.parametrize("seed", range(3))
def test_drawn_pictures_have_their_size_and_boxes_within(material: Material, seed: int) -> None:
    composer = Composer(material, CompositionConfig())
    rng = np.random.default_rng(seed)
    for _ in range(30):
        picture = composer.draw((96, 128), rng)
        assert picture.image.shape == (96, 128, 3)
        assert picture.image.dtype == np.uint8
        for boxes in (picture.people, picture.doubtful):
            assert boxes.shape[1:] == (4,)
            assert (boxes >= 0).all()
            assert (boxes <= [128, 96, 128, 96]).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_the_same_generator_draws_the_same_picture(material: Material) -> None:
    composer = Composer(material, CompositionConfig())
    one, other = (composer.draw((96, 128), np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.people, other.people)


def test_material_is_cut_from_scenes_with_enough_people() -> None:
    found = material_of([walk(60)], None)
    assert len(found.cutouts) == 1
    assert len(found.empty) == 1


def test_a_tiny_network_learns_a_tiny_world_and_finds_it_again(material: Material, tmp_path: Path) -> None:
    easy = CompositionConfig(real_share=1.0, mosaic_share=0.0, extra_people_share=0.0, height_px=(60.0, 80.0))
    method, detectors = detection_method(Composer(material, easy), RECIPE)
    for module in detectors.modules():
        if isinstance(module, BatchNorm2d):
            module.momentum = 0.2  # a hundred updates are few for running means
    train(method, RECIPE.trainer, Run(tmp_path))
    network = load_smoothed(tmp_path / CHECKPOINT, TINY)
    scene = material.scenes[0].part(range(0, 40, 4))
    found = [find(network, image, (160, 256)) for image in scene.frames]
    assert choose_score(found, scene.people, scene.doubtful).f1 > 0.8


def test_a_run_of_another_network_is_refused(tmp_path: Path, material: Material) -> None:
    recipe = replace(RECIPE, epochs=1, batches_per_epoch=1)
    method, _ = detection_method(Composer(material, CompositionConfig()), recipe)
    train(method, recipe.trainer, Run(tmp_path))
    with pytest.raises(ConfigurationError, match="no detector of these sizes"):
        load_smoothed(tmp_path / CHECKPOINT, NetworkConfig())


def test_smoothed_weights_are_the_running_mean() -> None:
    torch.manual_seed(0)
    detectors = Detectors(TINY)
    name = "stem.0.weight"
    expected = detectors.learning.get_parameter(name).detach().clone()
    for update in range(1, 5):
        with torch.no_grad():
            detectors.learning.get_parameter(name).add_(1.0)
        detectors.follow(0.998)
        stays = min(0.998, update / (update + 400))
        expected = stays * expected + (1 - stays) * detectors.learning.get_parameter(name).detach()
    torch.testing.assert_close(detectors.smoothed.get_parameter(name).detach(), expected)


def test_material_without_people_is_refused(material: Material) -> None:
    with pytest.raises(ConfigurationError, match="no people to cut out"):
        Composer(Material(material.scenes, material.empty, []), CompositionConfig())
