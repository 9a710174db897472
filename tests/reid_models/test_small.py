"""The whole recipe on a miniature: train, publish, load, search."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch

from reid_models.benchmarks import evaluate_attribute_sentences, evaluate_images, evaluate_text
from reid_models.datasets.described import Source, read_described_people
from reid_models.datasets.training_sets import decoded_images
from reid_models.inference import load_encoder
from reid_models.loader import LoaderConfig
from reid_models.manifest import Training
from reid_models.methods.small import APPEARANCE, LANGUAGE, LanguageStage, Recipe, SmallModel, StageConfig, small
from reid_models.publishing import assemble, data_digest, publish
from reid_models.trainer import Run, train

SIZE = (64, 32)


def quick(stage: StageConfig, epochs: int) -> StageConfig:
    gentle = replace(stage.loader.augment, erase_probability=0.0, blur_probability=0.0)
    return StageConfig(epochs, 3e-3, 1.0, LoaderConfig(((0, SIZE),), gentle), identities_per_batch=4)


@pytest.fixture(scope="module")
def published(miniature: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    work = tmp_path_factory.mktemp("work")
    people = read_described_people([miniature])
    recipe = Recipe("person_cnn_tiny", SIZE, quick(APPEARANCE, 4), quick(LANGUAGE, 25))
    method, model = small(people, decoded_images(people.samples, (128, 64)), recipe)
    train(method, recipe.trainer, Run(work))
    training = Training(description="a miniature", data_digest=data_digest(people))
    bundle = assemble("mini", date(2026, 1, 2), model.encoder.eval(), model.vocabulary, training, "Apache-2.0", SIZE)
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


def test_hidden_words_are_only_words(miniature: Source) -> None:
    people = read_described_people([miniature])
    model = SmallModel(people, Recipe("person_cnn_tiny", SIZE))
    stage = LanguageStage(model, people, np.zeros((0, 4, 4, 3), np.uint8), LANGUAGE)
    token_ids, labels = stage.draw_sentences([0, 2], np.random.default_rng(0))
    assert labels.tolist() == [0, 0, 2, 2]
    assert (token_ids[:, 0] == 1).all()
    assert ((token_ids == model.vocabulary.size - 1).sum(dim=1) == 1).all()
