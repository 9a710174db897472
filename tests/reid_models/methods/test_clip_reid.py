"""CLIP-ReID on tiny towers: what learns in which stage, what its terms are, and the same result after a break."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.errors import ConfigurationError
from reid_models.datasets.training_sets import LabelledSet
from reid_models.encoder import PersonOptions
from reid_models.identity_stage import IdentityStage, IdentityStageConfig
from reid_models.losses.metric import identity_loss
from reid_models.methods.clip_reid import RN50, VIT, ClipReidConfig, TextGuidedStage, clip_reid
from reid_models.prompt_stage import PromptStage, PromptStageConfig
from reid_models.schedules import OptimiserConfig, Schedule
from reid_models.trainer import Figures, Run, TrainerConfig, train
from tests.reid_models.labelled_people import LOADER, SIZE, TOKENIZE, TOWERS, labelled_people, tiny_encoder

TINY = ClipReidConfig(
    PromptStageConfig(2, SIZE, batch=16, precision="float32"),
    IdentityStageConfig(LOADER, 2, identities_per_batch=4, images_per_identity=3),
    OptimiserConfig(1e-3, 1e-4, bias_rate_factor=2.0, schedule=Schedule(2, 0.1, milestones=(3,), whole_epochs=True)),
    warm_up_epochs=1,
)
TRAINER = TrainerConfig(precision="float32")


def after(
    folder: Path, epochs: int | None, config: ClipReidConfig = TINY, tower: str = "person_cnn"
) -> dict[str, Tensor]:
    """The state of a run that was stopped after so many epochs of all its stages."""
    method = clip_reid(tiny_encoder(tower), TOKENIZE, labelled_people(), config)
    train(method, replace(TRAINER, stop_after_epochs=epochs), Run(folder))
    return load_file(folder / "checkpoint.safetensors")


def changed(before: dict[str, Tensor], now: dict[str, Tensor]) -> set[str]:
    """Names of the module tensors that differ."""
    return {name for name in now if name.startswith("modules/") and not torch.equal(before[name], now[name])}


@pytest.mark.parametrize("tower", TOWERS)
def test_all_towers_run_through_both_stages_and_describe_images(tower: str, tmp_path: Path) -> None:
    encoder, data = tiny_encoder(tower), labelled_people()
    method = clip_reid(encoder, TOKENIZE, data, TINY)
    told: dict[str, Figures] = {}
    train(method, TRAINER, Run(tmp_path, report=lambda stage, epoch, figures: told.update({stage: figures})))
    assert told["prompts"].keys() == {"contrastive", "rate_prompts"}
    assert told["images"].keys() == {"identity", "triplet", "text", "rate_encoder"}
    features = method.descriptor.of_images(data.images, SIZE, precision="float32")
    assert features.shape == (48, encoder.appearance_width + encoder.language_width)


def test_only_prompts_change_in_stage_1_and_everything_but_prompts_and_text_in_stage_2(tmp_path: Path) -> None:
    states = []
    for epochs in (1, 3, None):
        states.append(after(tmp_path, epochs))
    assert changed(states[0], states[1]) == {"modules/prompts.class_tokens"}
    moved = changed(states[1], states[2])
    assert not {name for name in moved if "prompts" in name or "clip.text" in name or "logit_scale" in name}
    assert {"modules/heads.appearance.weight", "modules/heads.language.classifier.weight"} < moved
    assert any("clip.visual" in name for name in moved) and "modules/encoder.neck.weight" in moved
    shifts = ("modules/encoder.neck.bias", "modules/heads.language.bias")
    assert not moved & set(shifts) and all((states[2][name] == 0).all() for name in shifts)


def test_camera_vectors_learn_in_stage_2_and_are_seen_in_descriptions(tmp_path: Path) -> None:
    encoder, people = tiny_encoder("vit", PersonOptions(cameras=3)), labelled_people()
    data = replace(people, cameras=np.arange(len(people.images)) % 3)
    method = clip_reid(encoder, TOKENIZE, data, replace(TINY, warm_up_epochs=0))
    vectors = []

    def look(stage: str, epoch: int, _: Figures) -> None:
        assert encoder.camera_vectors is not None
        vectors.append(encoder.camera_vectors.detach().clone())

    train(method, TRAINER, Run(tmp_path, report=look))
    assert torch.equal(vectors[0], vectors[1])  # prompts
    assert (vectors[1] != vectors[-1]).any(dim=1).all()
    here, there = (
        method.descriptor.of_images(data.images, SIZE, precision="float32", cameras=np.full(48, camera))
        for camera in (0, 1)
    )
    assert not torch.allclose(here, there)


def test_an_interrupted_run_ends_bit_equal(tmp_path: Path) -> None:
    whole = after(tmp_path / "whole", None)
    for epochs in (1, 2, 4):
        after(tmp_path / "parts", epochs)
    parts = after(tmp_path / "parts", None)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_warm_up_and_stage_2_share_one_schedule(tmp_path: Path) -> None:
    rates: dict[int, float] = {}
    method = clip_reid(tiny_encoder(), TOKENIZE, labelled_people(), TINY)
    run = Run(tmp_path, report=lambda _, epoch, figures: rates.update({epoch: figures.get("rate_encoder", 0.0)}))
    train(method, TRAINER, run)
    # 0.1 and 0.55 of the warm-up, then the full rate; the prompts' epochs in between do not count.
    assert rates == pytest.approx({1: 1e-4, 2: 0.0, 3: 0.0, 4: 5.5e-4, 5: 1e-3})


def test_the_text_term_is_the_cross_entropy_of_raw_dot_products() -> None:
    stage = guided(TINY)
    stage.begin()
    projected, labels = torch.randn(6, 24), torch.arange(6)
    expected = torch.zeros(())
    texts = stage.texts.features()
    for row, label in zip(projected, labels, strict=True):
        shares = torch.stack([row @ text for text in texts]).log_softmax(0)
        expected -= 0.9 * shares[label] + 0.1 * shares.mean()
    found = stage.text_losses(projected, labels, np.arange(6))["text"]
    torch.testing.assert_close(found, expected / 6)


@torch.no_grad()
def test_identity_and_triplet_are_summed_over_both_classifiers_and_three_features() -> None:
    stage = guided(replace(TINY, images=replace(TINY.images, identity_weight=0.25)))
    stage.begin()
    stage.encoder.eval(), stage.heads.eval()
    data = labelled_people()
    indices = np.array([0, 1, 2, 6, 7, 8, 12, 13, 14])
    images = torch.from_numpy(data.images[indices]).permute(0, 3, 1, 2).float() / 255.0
    losses = stage.losses(indices, images)
    features, labels = stage.encoder(images), torch.from_numpy(data.identities[indices])
    pooled, projected = stage.heads(features)
    torch.testing.assert_close(
        losses["identity"], 0.25 * (identity_loss(pooled, labels) + identity_loss(projected, labels))
    )
    expected = 0.0
    for feature in (features.penultimate, features.pooled, features.language):
        for anchor, label in zip(feature, labels, strict=True):
            distance = (feature - anchor).norm(dim=1)
            expected += max(0.0, float(distance[labels == label].max() - distance[labels != label].min()) + 0.3) / 9
    assert losses["triplet"].item() == pytest.approx(expected, rel=1e-4)


def guided(config: ClipReidConfig) -> TextGuidedStage:
    stage = clip_reid(tiny_encoder(), TOKENIZE, labelled_people(), config).stages[-1]
    assert isinstance(stage, TextGuidedStage)
    return stage


def test_published_settings_are_those_of_the_tables() -> None:
    """Section stage 1 and the table of stage 2 in the authors' configuration files."""
    rows = {
        name: (
            config.images.identity_weight, config.text_weight, config.images.margin, config.images.identities_per_batch,
            config.images.images_per_identity, config.images.epochs, config.encoder.learning_rate,
            config.encoder.schedule.warm_up_epochs, config.encoder.schedule.warm_up_factor,
            config.encoder.schedule.milestones, config.encoder.weight_decay, config.encoder.bias_rate_factor,
            config.prompts.epochs, config.prompts.batch,
        )
        for name, config in {"vit": VIT, "rn50": RN50}.items()
    }  # fmt: skip
    assert rows["vit"] == (0.25, 1, 0.3, 16, 4, 60, 5e-6, 10, 0.1, (30, 50), 1e-4, 2, 120, 64)
    assert rows["rn50"] == (1, 1, 0.3, 16, 4, 120, 3.5e-4, 10, 0.01, (40, 70), 5e-4, 2, 60, 64)
    assert VIT.warm_up_epochs == RN50.warm_up_epochs == 0


def test_without_a_warm_up_there_are_the_two_published_stages() -> None:
    method = clip_reid(tiny_encoder(), TOKENIZE, labelled_people(), replace(TINY, warm_up_epochs=0))
    assert [stage.name for stage in method.stages] == ["prompts", "images"]
    prompts, images = method.stages
    assert isinstance(prompts, PromptStage) and isinstance(images, IdentityStage)
    assert prompts.images is None and images.images is not None


def test_labels_with_gaps_and_single_identities_are_refused() -> None:
    data = labelled_people()
    gaps = LabelledSet(data.images, data.identities + 1, data.domains)
    with pytest.raises(ConfigurationError, match=r"8 identities \(from 1 to 8\); expected at least 2, numbered from 0"):
        clip_reid(tiny_encoder(), TOKENIZE, gaps, TINY)
    alone = LabelledSet(data.images, np.zeros_like(data.identities), data.domains)
    with pytest.raises(ConfigurationError, match="1 identities"):
        clip_reid(tiny_encoder(), TOKENIZE, alone, TINY)
