"""CCAFL on a tiny tower: what each stage learns, what it may see, what its terms are, and the same after a break."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.errors import ConfigurationError
from reid_models.datasets.sample import I64
from reid_models.datasets.training_sets import IntraCameraSet, intra_camera_set
from reid_models.losses.adversarial import AdversarialConfig
from reid_models.losses.metric import batch_hard_triplet_loss, identity_loss, memory_triplet_loss
from reid_models.losses.prototypes import icdl_loss
from reid_models.methods.ccafl import (
    DUKEMTMC,
    MARGIN,
    MARKET1501,
    MSMT17,
    CcaflConfig,
    InterCameraStage,
    IntraCameraStage,
    ccafl,
    less_camera_means,
)
from reid_models.prompt_stage import prompt_optimiser
from reid_models.schedules import OptimiserConfig, Schedule
from reid_models.trainer import Figures, Method, Run, TrainerConfig, train
from tests.reid_models.labelled_people import LOADER, TOKENIZE, tiny_encoder

PEOPLE, CAMERAS, SHOTS = 6, 3, 4
TINY = CcaflConfig(
    LOADER,
    identities_per_batch=6,
    images_per_identity=2,
    batches_per_epoch=4,
    warm_up_epochs=1,
    prompt_epochs=1,
    intra_epochs=1,
    inter_epochs=3,
    momentum=0.5,
    instance_slots=3,
    pairs_per_class=4.0,
    text_from_epoch=2,
    adversarial_epochs=(2, 3),
    is_exclusive=True,
    encoder=OptimiserConfig(1e-3, 1e-4, schedule=Schedule(1, 0.1)),
    prompts=prompt_optimiser(1, 1e-2, 0),
    precision="float32",
)
TRAINER = TrainerConfig(precision="float32")


def people_in_cameras() -> tuple[IntraCameraSet, I64]:
    """Six people with a colour each, all seen by three cameras with a brightness each; and who is who."""
    rng = np.random.default_rng(1)
    cameras, identities, _ = np.unravel_index(np.arange(PEOPLE * CAMERAS * SHOTS), (CAMERAS, PEOPLE, SHOTS))
    colours = rng.uniform(40, 200, (PEOPLE, 1, 1, 3))
    pictures = colours[identities] + 12.0 * cameras[:, None, None, None] + rng.normal(0, 12, (len(cameras), 32, 32, 3))
    images = np.clip(pictures, 0, 255).astype(np.uint8)
    return intra_camera_set(images, cameras.astype(np.int64), identities.astype(np.int64)), identities


def method_of(config: CcaflConfig = TINY) -> Method:
    return ccafl(tiny_encoder(), TOKENIZE, people_in_cameras()[0], config)


def after(folder: Path, epochs: int | None, config: CcaflConfig = TINY) -> dict[str, Tensor]:
    """The state of a run that was stopped after so many epochs of all its stages."""
    train(method_of(config), replace(TRAINER, stop_after_epochs=epochs), Run(folder))
    return load_file(folder / "checkpoint.safetensors")


def changed(before: dict[str, Tensor], now: dict[str, Tensor]) -> set[str]:
    return {name for name in now if name.startswith("modules/") and not torch.equal(before[name], now[name])}


def inter_stage(config: CcaflConfig = TINY) -> InterCameraStage:
    (stage,) = [stage for stage in method_of(config).stages if isinstance(stage, InterCameraStage)]
    stage.begin()
    return stage


def test_what_is_trained_on_has_no_field_for_true_identities() -> None:
    assert {field.name for field in fields(IntraCameraSet)} == {"images", "cameras", "intra_camera_identities"}
    data, identities = people_in_cameras()
    assert len(data.class_cameras()) == PEOPLE * CAMERAS
    assert not np.array_equal(data.intra_camera_identities, identities)


def test_each_stage_changes_its_own_parameters_only(tmp_path: Path) -> None:
    states = [after(tmp_path, epochs) for epochs in (1, 2, 3, None)]
    warm_to_prompts, prompts_to_intra, intra_to_inter = (changed(before, now) for before, now in pairwise(states))
    assert warm_to_prompts == {"modules/prompts.class_tokens"}
    for moved in (prompts_to_intra, intra_to_inter):
        assert "modules/classifier.weight" in moved and any("clip.visual" in name for name in moved)
        assert not {name for name in moved if "prompts" in name or "clip.text" in name or "logit_scale" in name}


def test_terms_appear_in_their_epochs_and_nowhere_else(tmp_path: Path) -> None:
    told: list[tuple[str, Figures]] = []
    run = Run(tmp_path, report=lambda stage, epoch, figures: told.append((stage, figures)))
    train(method_of(), TRAINER, run)
    terms = [(stage, {"text", "adversarial", "icdl", "memory"} & figures.keys()) for stage, figures in told]
    # The windows count from the start of stage 2: inter epochs are 1, 2 and 3.
    assert terms == [
        ("warm_up", {"icdl"}),
        ("prompts", set()),
        ("intra", {"icdl", "text"}),
        ("inter", {"memory"}),
        ("inter", {"memory", "text", "adversarial"}),
        ("inter", {"memory", "text"}),
    ]


def test_an_interrupted_run_ends_bit_equal(tmp_path: Path) -> None:
    whole = after(tmp_path / "whole", None)
    for epochs in (1, 3, 5, None):
        parts = after(tmp_path / "parts", epochs)
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)


def test_people_of_different_cameras_are_found_to_be_one(tmp_path: Path) -> None:
    data, identities = people_in_cameras()
    truth = np.zeros(PEOPLE * CAMERAS, np.int64)
    truth[data.intra_camera_identities] = identities
    config = replace(TINY, is_camera_centred=True, prompt_epochs=0, inter_epochs=4)
    method = ccafl(tiny_encoder(), TOKENIZE, data, config)
    train(method, TRAINER, Run(tmp_path))
    stage = method.stages[-1]
    assert isinstance(stage, InterCameraStage)
    joined = (stage.components[:, None] == stage.components) & (stage.components >= 0)
    right = truth[:, None] == truth
    others = ~np.eye(len(truth), dtype=bool)
    assert (joined & right & others).sum() / (joined & others).sum() >= 0.8  # by chance 0.17


def test_the_intra_camera_loss_is_the_sum_over_cameras_of_each_ones_own_terms() -> None:
    stage = next(stage for stage in method_of().stages if isinstance(stage, IntraCameraStage))
    stage.begin()
    rng = np.random.default_rng(0)
    (indices, *_) = stage.batches(0, rng)
    generator = torch.Generator().manual_seed(0)
    appearance = torch.nn.functional.normalize(torch.randn(len(indices), 64, generator=generator), dim=1)
    parts = stage.intra_losses(appearance, torch.zeros(len(indices), 24), indices)
    expected = dict.fromkeys(("icdl", "triplet_memory", "triplet"), torch.zeros(()))
    for camera in range(CAMERAS):
        rows = np.flatnonzero(stage.data.cameras[indices] == camera)
        if not len(rows):
            continue
        members = np.flatnonzero(stage.class_cameras == camera).tolist()
        labels = torch.tensor([members.index(label) for label in stage.classes[indices[rows]]])
        memory, features = stage.memories[camera], appearance[torch.from_numpy(rows)]
        expected["icdl"] = expected["icdl"] + icdl_loss(features, labels, memory.centroids, memory.slots, 0.6, 0.05)
        expected["triplet_memory"] = expected["triplet_memory"] + memory_triplet_loss(
            features, labels, memory.centroids, MARGIN
        )
        expected["triplet"] = expected["triplet"] + batch_hard_triplet_loss(features, labels, MARGIN)
    assert parts.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(parts[name], value)


def test_memories_rest_during_a_batch_and_learn_after_the_step() -> None:
    stage = inter_stage()
    (indices, *_) = stage.batches(0, np.random.default_rng(0))
    images = torch.randn(len(indices), 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = stage.memory.centroids.clone()
    stage.losses(indices, images)
    assert torch.equal(stage.memory.centroids, before)
    stage.after_update()
    assert not torch.equal(stage.memory.centroids, before)


def test_all_accumulated_batches_reach_the_memory() -> None:
    stage = inter_stage()
    batches = stage.batches(0, np.random.default_rng(0))[:2]
    images = [torch.randn(len(batch), 3, 32, 32, generator=torch.Generator().manual_seed(0)) for batch in batches]
    for batch, shown in zip(batches, images, strict=True):
        stage.losses(batch, shown)
    before = stage.memory.centroids.clone()
    stage.after_update()
    moved = (stage.memory.centroids != before).any(dim=1)
    seen = {int(stage.components[stage.classes[place]]) for batch in batches for place in batch} - {-1}
    assert set(moved.nonzero().flatten().tolist()) == seen
    stage.after_update()
    assert torch.equal((stage.memory.centroids != before).any(dim=1), moved)


def test_images_of_classes_without_partner_teach_the_classifier_alone() -> None:
    class Lonely(InterCameraStage):
        def associate(self, features: Tensor) -> I64:
            components = np.full(len(self.class_cameras), -1, np.int64)
            components[[0, PEOPLE, 1, PEOPLE + 1]] = [0, 0, 1, 1]
            return components

    given = inter_stage()
    stage = Lonely(given.model, given.data, given.config, given.texts)
    stage.begin()
    stage.batches(0, np.random.default_rng(0))
    alone = np.flatnonzero(stage.components[stage.classes] < 0)[:6]
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert stage.losses(alone, images).keys() == {"classifier"}
    mixed = np.concatenate([np.flatnonzero(stage.components[stage.classes] >= 0)[:6], alone])
    assert "memory" in stage.losses(mixed, torch.cat([images, images]))
    assert stage.figures() == {"pseudo_identities": 2.0, "linked_share": 4 / (PEOPLE * CAMERAS)}


def test_the_adversary_does_not_teach_the_classifier_nor_the_classifier_the_encoder() -> None:
    stage = inter_stage(replace(TINY, intra_epochs=2))  # so that the first inter epoch lies in the window
    (indices, *_) = stage.batches(0, np.random.default_rng(0))
    images = torch.randn(len(indices), 3, 32, 32, generator=torch.Generator().manual_seed(0))
    parts = stage.losses(indices, images)
    weight = stage.model.classifier.weight
    visual = [value for value in stage.model.encoder.clip.visual.parameters() if value.requires_grad]
    assert torch.autograd.grad(parts["adversarial"], weight, retain_graph=True, allow_unused=True) == (None,)
    grads = torch.autograd.grad(parts["classifier"], visual, retain_graph=True, allow_unused=True)
    assert all(gradient is None for gradient in grads)
    assert torch.autograd.grad(parts["classifier"], weight)[0].abs().sum() > 0


def test_the_text_of_a_pseudo_identity_is_the_mean_over_its_images() -> None:
    stage = inter_stage(replace(TINY, intra_epochs=2))
    stage.batches(0, np.random.default_rng(0))
    assert stage.component_texts is not None and stage.class_texts is not None
    for component in range(len(stage.component_texts)):
        images = np.flatnonzero(stage.components[stage.classes] == component)
        mean = torch.stack([stage.class_texts[int(stage.classes[place])] for place in images]).mean(dim=0)
        torch.testing.assert_close(stage.component_texts[component], mean)


def test_without_association_every_class_is_an_identity_of_its_own() -> None:
    stage = inter_stage(replace(TINY, is_associated=False))
    stage.batches(0, np.random.default_rng(0))
    assert stage.components.tolist() == list(range(PEOPLE * CAMERAS))


def test_centred_features_have_no_camera_mean() -> None:
    features = torch.randn(40, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cameras = torch.arange(40) % 3
    features = torch.nn.functional.normalize(features + cameras[:, None], dim=1)
    centred = less_camera_means(features, cameras)
    torch.testing.assert_close(centred.norm(dim=1), torch.ones(40, dtype=torch.float64))
    for camera in range(3):
        own = features[cameras == camera]
        expected = torch.nn.functional.normalize(own - own.mean(dim=0), dim=1)
        torch.testing.assert_close(centred[cameras == camera], expected)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (MARKET1501, (16, 8, 0.6, 1.7, 10, (40, 50), 0.7)),
        (DUKEMTMC, (16, 8, 0.6, 1.5, 40, (40, 60), 0.3)),
        (MSMT17, (32, 8, 0.0, 1.3, 40, (40, 60), 0.5)),
    ],
)
def test_published_settings(config: CcaflConfig, expected: Sequence[object]) -> None:
    found = (
        config.identities_per_batch, config.images_per_identity, config.centroid_share, config.pairs_per_class,
        config.text_from_epoch, config.adversarial_epochs, config.adversarial.margin,
    )  # fmt: skip
    assert found == expected
    assert (config.prompt_epochs, config.intra_epochs, config.inter_epochs, config.warm_up_epochs) == (60, 5, 75, 0)
    assert (config.temperature, config.momentum, config.instance_slots) == (0.05, 0.1, 32)
    assert not (config.is_exclusive or config.is_camera_centred)
    assert config.inter_update == "hard" and config.batches_per_epoch == 200
    assert config.adversarial == AdversarialConfig(config.adversarial.margin, 16.0, 0.2, 0.8)
    encoder = config.encoder
    assert (encoder.learning_rate, encoder.weight_decay, encoder.bias_rate_factor) == (3.5e-4, 5e-4, 2.0)
    assert encoder.schedule == Schedule(10, 0.01, milestones=(40, 50), whole_epochs=True)


def test_one_camera_is_refused() -> None:
    data, _ = people_in_cameras()
    rows = data.cameras == 0
    one = intra_camera_set(data.images[rows], data.cameras[rows], data.intra_camera_identities[rows])
    with pytest.raises(ConfigurationError, match="the data set has 1 camera; CCAFL links people across cameras"):
        ccafl(tiny_encoder(), TOKENIZE, one, TINY)


def test_an_association_of_nothing_says_what_to_change() -> None:
    stage = inter_stage(replace(TINY, pairs_per_class=0.01))
    with pytest.raises(ConfigurationError, match=r"0 pseudo-identities of 18 classes.*raise pairs_per_class \(0\.01\)"):
        stage.batches(0, np.random.default_rng(0))


def test_the_text_term_of_a_camera_compares_with_its_own_people_only() -> None:
    stage = next(stage for stage in method_of().stages if stage.name == "intra")
    assert isinstance(stage, IntraCameraStage)
    stage.begin()
    stage.batches(0, np.random.default_rng(0))
    generator = torch.Generator().manual_seed(0)
    appearance = torch.nn.functional.normalize(torch.randn(4, 64, generator=generator), dim=1)
    projected = torch.randn(4, 24, generator=generator)
    labels = torch.tensor([0, 0, 3, 5])
    assert stage.class_texts is not None
    texts = stage.class_texts[PEOPLE : 2 * PEOPLE]  # classes of camera 1
    found = stage.camera_losses(1, appearance, projected, labels)["text"]
    torch.testing.assert_close(found, identity_loss(projected @ texts.T, labels))
