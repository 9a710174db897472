"""CLIP-FGDI on tiny towers: what learns in which stage, the guidance, the switches, the same result after a break."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.errors import ConfigurationError
from reid_models.datasets.training_sets import LabelledSet
from reid_models.descriptor import DescribingMethod
from reid_models.encoder import PersonOptions
from reid_models.identity_stage import IdentityStageConfig
from reid_models.methods.clip_fgdi import (
    VIT,
    ClipFgdiConfig,
    Guidance,
    GuidedStage,
    InvariantPromptStage,
    RelevantPromptStage,
    clip_fgdi,
)
from reid_models.prompt_stage import PromptStageConfig
from reid_models.schedules import OptimiserConfig, Schedule
from reid_models.trainer import Figures, Run, TrainerConfig, train
from tests.reid_models.labelled_people import LOADER, SIZE, TOKENIZE, TOWERS, labelled_people, tiny_encoder

TINY = ClipFgdiConfig(
    IdentityStageConfig(LOADER, 2, identities_per_batch=4, images_per_identity=3, margin=None),
    PromptStageConfig(2, SIZE, batch=16, precision="float32"),
    OptimiserConfig(1e-3, 1e-4, bias_rate_factor=2.0, schedule=Schedule(10, 0.1, whole_epochs=True)),
    relevant_epochs=2,
)
TRAINER = TrainerConfig(precision="float32")
PARTS = {"warm_up": 3, "invariant_prompts": 5, "relevant_prompts": 7, "images": None}  # epochs in all at their ends


def tiny_fgdi(config: ClipFgdiConfig = TINY, tower: str = "person_cnn") -> DescribingMethod:
    return clip_fgdi(tiny_encoder(tower, PersonOptions(instance_normalised=True)), TOKENIZE, labelled_people(), config)


def guided_by(**switches: object) -> ClipFgdiConfig:
    return replace(TINY, guidance=replace(Guidance(), **switches))  # type: ignore[arg-type]


def after(folder: Path, epochs: int | None, config: ClipFgdiConfig = TINY) -> dict[str, Tensor]:
    """The state of a run that was stopped after so many epochs of all its stages."""
    train(tiny_fgdi(config), replace(TRAINER, stop_after_epochs=epochs), Run(folder))
    return load_file(folder / "checkpoint.safetensors")


def changed(before: dict[str, Tensor], now: dict[str, Tensor]) -> set[str]:
    """Names of the module tensors that differ, without their common beginning."""
    return {
        name.removeprefix("modules/")
        for name in now
        if name.startswith("modules/") and not torch.equal(before[name], now[name])
    }


def owners(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("tower", TOWERS)
def test_all_towers_run_through_all_stages(tower: str, tmp_path: Path) -> None:
    method = tiny_fgdi(tower=tower)
    told: dict[str, Figures] = {}
    train(method, TRAINER, Run(tmp_path, report=lambda stage, epoch, figures: told.update({stage: figures})))
    assert list(told) == list(PARTS)
    assert told["images"].keys() == {"identity", "triplet", "text", "guidance", "rate_encoder"}
    for stage in ("invariant_prompts", "relevant_prompts"):
        assert 0.0 <= told[stage]["domain_accuracy"] <= 1.0


def test_each_stage_changes_its_own_parameters_and_no_others(tmp_path: Path) -> None:
    states = {stage: after(tmp_path, epochs) for stage, epochs in PARTS.items()}
    invariant = changed(states["warm_up"], states["invariant_prompts"])
    assert owners(invariant) == {"prompts", "adversary"}
    assert {name for name in invariant if "prompts" in name} == {"prompts.class_tokens"}
    relevant = changed(states["invariant_prompts"], states["relevant_prompts"])
    assert owners(relevant) == {"prompts", "domains"}
    assert {name for name in relevant if "prompts" in name} == {"prompts.domain_tokens"}
    images = changed(states["relevant_prompts"], states["images"])
    assert owners(images) == {"encoder", "heads"}
    assert not {name for name in images if "clip.text" in name or "logit_scale" in name}


def test_stage_3_goes_on_at_the_fourth_step_of_the_schedule_of_stage_1(tmp_path: Path) -> None:
    rates: list[float] = []
    run = Run(
        tmp_path, report=lambda _, epoch, figures: rates.extend(v for k, v in figures.items() if k == "rate_encoder")
    )
    train(tiny_fgdi(), TRAINER, run)
    assert rates == pytest.approx([1e-3 * (0.1 + 0.9 * step / 10) for step in range(5)])


def test_an_interrupted_run_ends_bit_equal(tmp_path: Path) -> None:
    whole = after(tmp_path / "whole", None)
    for epochs in (2, 4, 6, 8):
        after(tmp_path / "parts", epochs)
    parts = after(tmp_path / "parts", None)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def last_stage(config: ClipFgdiConfig = TINY) -> GuidedStage:
    stage = tiny_fgdi(config).stages[-1]
    assert isinstance(stage, GuidedStage)
    stage.begin()
    return stage


def test_cached_texts_are_those_of_each_sample(tmp_path: Path) -> None:
    stage, data = last_stage(), labelled_people()
    for sample in range(0, len(data.identities), 5):
        identity, domain = int(data.identities[sample]), int(data.domains[sample])
        invariant = stage.texts.embed(torch.tensor([identity]))[0]
        relevant = stage.texts.embed(torch.tensor([identity]), torch.tensor([domain]))[0]
        torch.testing.assert_close(stage.invariant[identity], invariant)
        torch.testing.assert_close(stage.relevant[stage.pair_of_sample[sample]], relevant)
        assert not torch.allclose(invariant, relevant, atol=1e-3)


def test_texts_are_cached_only_for_pairs_that_occur() -> None:
    assert len(last_stage().relevant) == 8  # eight people, each in one of two domains


@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_decides_which_text_an_image_is_drawn_to(sign: int) -> None:
    stage = last_stage(guided_by(sign=sign, beta=1.0))
    indices, labels = np.array([0, 6]), torch.tensor([0, 1])
    relevant = stage.relevant[torch.from_numpy(stage.pair_of_sample[indices])]
    near_invariant = stage.text_losses(stage.invariant[labels], labels, indices)["guidance"]
    near_relevant = stage.text_losses(relevant, labels, indices)["guidance"]
    assert (near_invariant < near_relevant) == (sign == 1)


def test_beta_divides_the_texts_between_cross_entropy_and_guidance() -> None:
    indices, labels, projected = np.array([0, 6]), torch.tensor([0, 1]), torch.randn(2, 24)
    whole = {beta: last_stage(guided_by(beta=beta)).text_losses(projected, labels, indices) for beta in (0.0, 0.1, 1.0)}
    torch.testing.assert_close(whole[0.1]["text"], 0.9 * whole[0.0]["text"])
    torch.testing.assert_close(whole[0.1]["guidance"], 0.1 * whole[1.0]["guidance"])


def test_without_relevant_texts_there_is_neither_their_stage_nor_guidance() -> None:
    method = tiny_fgdi(guided_by(relevant_texts=False))
    assert [stage.name for stage in method.stages] == ["warm_up", "invariant_prompts", "images"]
    indices, labels, projected = np.array([0, 6]), torch.tensor([0, 1]), torch.randn(2, 24)
    parts = last_stage(guided_by(relevant_texts=False)).text_losses(projected, labels, indices)
    whole = last_stage(guided_by(beta=0.0)).text_losses(projected, labels, indices)
    assert parts.keys() == {"text"}
    torch.testing.assert_close(parts["text"], whole["text"])


def test_without_invariant_texts_images_are_only_pushed_from_the_relevant_one() -> None:
    stage = last_stage(guided_by(invariant_texts=False, beta=0.5))
    indices, labels, projected = np.array([0, 6]), torch.tensor([0, 1]), torch.randn(2, 24)
    relevant = stage.relevant[torch.from_numpy(stage.pair_of_sample[indices])]
    cosines = torch.cosine_similarity(projected, relevant)
    parts = stage.text_losses(projected, labels, indices)
    assert parts.keys() == {"guidance"}
    expected = sum(math.log1p(math.exp(cosine)) for cosine in cosines.tolist()) / 2
    assert parts["guidance"].item() == pytest.approx(0.5 * expected, rel=1e-5)


def test_without_either_text_the_encoder_learns_from_identities_alone() -> None:
    config = guided_by(invariant_texts=False, relevant_texts=False)
    assert [stage.name for stage in tiny_fgdi(config).stages] == ["warm_up", "images"]
    assert not last_stage(config).text_losses(torch.randn(2, 24), torch.tensor([0, 1]), np.array([0, 6]))


def prompt_gradients(config: ClipFgdiConfig) -> tuple[Tensor, InvariantPromptStage]:
    stage = tiny_fgdi(config).stages[1]
    assert isinstance(stage, InvariantPromptStage)
    stage.begin()
    stage.batches(0, np.random.default_rng(0))
    parts = stage.losses(np.arange(0, 48, 4), None)
    torch.stack(list(parts.values())).sum().backward()
    gradient = stage.texts.learner.class_tokens.grad
    assert gradient is not None
    return gradient, stage


def test_the_adversarys_gradient_reaches_the_prompts_reversed_and_weakened() -> None:
    without, _ = prompt_gradients(replace(TINY, adversary_weight=0.0))
    strong, weak = (
        prompt_gradients(replace(TINY, adversary_weight=weight, reversal_strength=strength))[0] - without
        for weight, strength in ((10.0, 1.0), (10.0, 0.1))
    )
    backwards = prompt_gradients(replace(TINY, adversary_weight=10.0, reversal_strength=-1.0))[0] - without
    scale = strong.abs().max()
    torch.testing.assert_close(strong, -backwards, atol=1e-4 * scale, rtol=0)
    torch.testing.assert_close(weak, 0.1 * strong, atol=1e-3 * scale, rtol=0)


def test_without_the_adversary_its_classifier_rests(tmp_path: Path) -> None:
    config = replace(TINY, adversary_weight=0.0)
    before, now = after(tmp_path, 3, config), after(tmp_path, 5, config)
    assert changed(before, now) == {"prompts.class_tokens"}


def test_the_domain_token_learns_from_images_and_not_from_the_classifier() -> None:
    def gradients(weight: float) -> tuple[Tensor, Tensor]:
        stage = tiny_fgdi().stages[2]
        assert isinstance(stage, RelevantPromptStage)
        stage.begin()
        stage.batches(0, np.random.default_rng(0))
        parts = stage.losses(np.arange(0, 48, 4), None)
        (parts["contrastive"] + weight * parts["domains"]).backward()
        learner = stage.texts.learner
        assert learner.class_tokens.grad is None and learner.domain_tokens.grad is not None
        first = next(stage.classifier.parameters()).grad
        assert first is not None
        return learner.domain_tokens.grad, first

    (domain_1, classifier_1), (domain_9, classifier_9) = gradients(1.0), gradients(9.0)
    torch.testing.assert_close(domain_1, domain_9)
    assert domain_1.abs().max() > 0 and not torch.allclose(classifier_1, classifier_9)


def test_the_plain_classifier_learns_to_tell_domains(tmp_path: Path) -> None:
    accuracies: list[float] = []
    config = replace(TINY, relevant_epochs=12)

    def report(stage: str, _: int, figures: Figures) -> None:
        if stage == "relevant_prompts":
            accuracies.append(figures["domain_accuracy"])

    train(tiny_fgdi(config), TRAINER, Run(tmp_path, report=report))
    assert accuracies[-1] > 0.9


def test_images_are_described_by_euclidean_distance_whatever_their_brightness() -> None:
    method, data = tiny_fgdi(), labelled_people()
    assert method.descriptor.metric == "euclidean"
    images = torch.rand(3, 3, *SIZE)
    method.modules.eval()
    with torch.no_grad():
        plain, bright = (method.descriptor.describe(changed_by) for changed_by in (images, 2.0 * images + 0.5))
    torch.testing.assert_close(plain, bright, rtol=1e-3, atol=1e-4)
    assert method.descriptor.of_images(data.images, SIZE).shape[0] == len(data.images)


def test_published_settings_are_those_of_the_released_code() -> None:
    images, prompts, encoder = VIT.images, VIT.prompts, VIT.encoder
    assert images.loader.sizes == ((0, (224, 224)),) and images.margin is None and images.identity_weight == 1
    assert (images.identities_per_batch, images.images_per_identity) == (32, 4)
    assert (VIT.warm_up_epochs, prompts.epochs, VIT.relevant_epochs, images.epochs) == (3, 120, 30, 60)
    assert (prompts.batch, VIT.adversary_weight, VIT.reversal_strength) == (128, 0.01, 0.1)
    assert (encoder.learning_rate, encoder.weight_decay, encoder.bias_rate_factor) == (5e-6, 1e-4, 2)
    assert encoder.schedule == Schedule(10, 0.1, milestones=(30, 50), whole_epochs=True)
    assert Guidance() == VIT.guidance and (VIT.guidance.beta, VIT.guidance.sign) == (0.1, 1)


def test_mistakes_of_configuration_and_data_are_named() -> None:
    data = labelled_people()
    encoder = tiny_encoder(options=PersonOptions(instance_normalised=True))
    with pytest.raises(ConfigurationError, match=r"beta is 1\.5"):
        tiny_fgdi(guided_by(beta=1.5))
    with pytest.raises(ConfigurationError, match="sign of the guidance 0"):
        tiny_fgdi(guided_by(sign=0))
    with pytest.raises(ConfigurationError, match="instance_normalised=False, the configuration asks for True"):
        clip_fgdi(tiny_encoder(), TOKENIZE, data, TINY)
    single = LabelledSet(data.images, data.identities, np.zeros_like(data.domains))
    with pytest.raises(ConfigurationError, match="1 domains"):
        clip_fgdi(encoder, TOKENIZE, single, TINY)
    with pytest.raises(ConfigurationError, match=r"8 identities \(from 2 to 9\)"):
        clip_fgdi(encoder, TOKENIZE, LabelledSet(data.images, data.identities + 2, data.domains), TINY)
    with pytest.raises(ConfigurationError, match="expected 4 times X"):
        clip_fgdi(encoder, TOKENIZE, data, replace(TINY, template="A photo of a X person."))
