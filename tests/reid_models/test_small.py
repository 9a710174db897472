"""The whole recipe on a miniature: train, publish, load, search."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from reid_models.benchmarks import evaluate_attribute_sentences, evaluate_images, evaluate_text
from reid_models.datasets.described import Source, read_described_people
from reid_models.inference import load_encoder
from reid_models.manifest import Training
from reid_models.methods.small import APPEARANCE, LANGUAGE, Recipe, SmallRun, train
from reid_models.publishing import assemble, data_digest, publish
from reid_models.trainer import StageConfig, rate_factor, size_at

SIZE = (64, 32)


def quick(stage: StageConfig, epochs: int) -> StageConfig:
    gentle = replace(stage.augment, erase_probability=0.0, blur_probability=0.0)
    return replace(
        stage, epochs=epochs, sizes=((0, SIZE),), warm_up_epochs=1.0, learning_rate=3e-3, identities_per_batch=4,
        augment=gentle,
    )  # fmt: skip


@pytest.fixture(scope="module")
def published(miniature: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    work = tmp_path_factory.mktemp("work")
    people = read_described_people([miniature])
    recipe = Recipe("person_cnn_tiny", SIZE, quick(APPEARANCE, 4), quick(LANGUAGE, 25))
    encoder, vocabulary = train(people, recipe, work)
    training = Training(description="a miniature", data_digest=data_digest(people))
    bundle = assemble("mini", date(2026, 1, 2), encoder, vocabulary, training, "Apache-2.0", SIZE)
    publish(work / "bundle", bundle, {"mini": miniature})
    return work / "bundle"


def test_what_was_trained_finds_new_people_by_image_and_by_sentence(published: Path, miniature: Source) -> None:
    encoder = load_encoder(published, device="cpu")
    images = evaluate_images(encoder, miniature.images)
    assert (images.queries, images.gallery_images, images.identities) == (8, 24, 4)
    assert images.rank_1 >= 0.75  # by chance 0.25
    texts = evaluate_text(encoder, miniature.images, miniature.captions)
    assert (texts.gallery_images, texts.identities) == (32, 4)
    assert texts.person_rank_1 >= 0.75
    assert evaluate_attribute_sentences(encoder, miniature.images, miniature.attributes).person_rank_1 >= 0.5


def test_the_manifest_states_what_was_measured(published: Path) -> None:
    manifest = load_encoder(published, device="cpu").manifest
    assert manifest.metrics["mini_image_rank_1"] >= 0.75
    assert manifest.training.description == "a miniature"
    assert manifest.calibration is not None
    assert "4 identities" in manifest.calibration.measured_on
    assert json.loads((published / "manifest.json").read_text())["digest"] == manifest.digest


def test_checkpoints_of_both_stages_lie_in_the_work_folder(published: Path) -> None:
    assert {path.name for path in published.parent.glob("*.safetensors")} == {
        "appearance.safetensors", "language.safetensors",
    }  # fmt: skip


def test_hidden_words_are_only_words(miniature: Source) -> None:
    people = read_described_people([miniature])
    recipe = Recipe("person_cnn_tiny", SIZE)
    run = SmallRun(people, recipe)
    token_ids, labels = run.draw_sentences([0, 2])
    assert labels.tolist() == [0, 0, 2, 2]
    assert (token_ids[:, 0] == 1).all()
    assert ((token_ids == run.vocabulary.size - 1).sum(dim=1) == 1).all()


def test_the_rate_rises_then_falls_to_nothing() -> None:
    rates = [rate_factor(epoch, 10, 2.0) for epoch in np.linspace(0, 10, 101)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(1.0) and rates[-1] == pytest.approx(0.0)
    assert rates.index(max(rates)) == 20
    assert all(before >= after for before, after in pairwise(rates[20:]))


def test_the_size_in_force_is_the_last_that_has_begun() -> None:
    sizes = ((0, (96, 48)), (8, (128, 64)))
    assert [size_at(sizes, epoch) for epoch in (0, 7, 8, 20)] == [(96, 48), (96, 48), (128, 64), (128, 64)]
