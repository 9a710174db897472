"""The stage in which prompts learn: its batches, its groups, its resting features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reid_models.losses.contrastive import prompt_contrastive_loss
from reid_models.prompt_stage import PromptSamples, PromptStage, PromptStageConfig, class_texts, prompt_optimiser
from tests.reid_models.labelled_people import SIZE, TOKENIZE, labelled_people, tiny_encoder


def prompt_stage(has_groups: bool = False, batch: int = 20) -> PromptStage:
    data = labelled_people()
    texts = class_texts(tiny_encoder(), TOKENIZE, classes=8)
    samples = PromptSamples(data.images, data.identities, data.domains if has_groups else None)
    return PromptStage("prompts", ("prompts",), texts, samples, PromptStageConfig(1, SIZE, batch, precision="float32"))


def test_every_sample_is_in_one_batch_of_an_epoch_and_epochs_differ() -> None:
    stage, rng = prompt_stage(), np.random.default_rng(0)
    first, second = stage.batches(0, rng), stage.batches(1, rng)
    assert [len(batch) for batch in first] == [16, 16, 16]  # 48 samples in batches of at most 20
    assert sorted(np.concatenate(first)) == list(range(48))
    assert not np.array_equal(first[0], second[0])


def test_image_features_are_those_of_unchanged_images_one_by_one() -> None:
    stage = prompt_stage()
    stage.begin()
    encoder, data = stage.texts.encoder.eval(), labelled_people()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    image = torch.from_numpy(data.images[7]).permute(2, 0, 1) / 255.0
    with torch.no_grad():
        expected = encoder((image[None] - mean) / std).language[0]
    torch.testing.assert_close(stage.image_features[7], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("has_groups", [False, True])
def test_groups_are_told_apart_on_their_own_and_summed(has_groups: bool) -> None:
    stage, data = prompt_stage(has_groups), labelled_people()
    stage.begin()
    indices = np.random.default_rng(3).permutation(48)[:16]
    texts = stage.texts.features(torch.from_numpy(data.identities[indices]))
    groups = data.domains[indices] if has_groups else np.zeros(16)
    expected = torch.zeros(())
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        labels = torch.from_numpy(data.identities[indices[rows]])
        expected += prompt_contrastive_loss(stage.image_features[indices[rows]], texts[rows], labels)
    torch.testing.assert_close(stage.losses(indices, None)["contrastive"], expected)


def test_no_weight_of_the_encoder_gets_a_gradient() -> None:
    stage = prompt_stage()
    stage.begin()
    stage.losses(np.arange(16), None)["contrastive"].backward()
    assert all(parameter.grad is None for parameter in stage.texts.encoder.parameters())
    assert stage.texts.learner.class_tokens.grad is not None


def test_the_schedule_warms_up_from_1e_5_and_ends_near_1e_6() -> None:
    config = prompt_optimiser(120)
    rates = [config.learning_rate * config.schedule.share(epoch) for epoch in (0, 5, 120)]
    assert rates == pytest.approx([1e-5, 3.5e-4, 1e-6])
