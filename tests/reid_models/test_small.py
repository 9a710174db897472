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
from reid_models.bundle import load_bundle
from reid_models.datasets.composites import draw_composites
from reid_models.datasets.described import Source, read_described_people
from reid_models.datasets.lessons import Lessons, lessons_of_people, with_inventions
from reid_models.datasets.training_sets import decoded_images
from reid_models.inference import load_encoder
from reid_models.loader import LoaderConfig
from reid_models.manifest import Training
from reid_models.methods.small import (
    APPEARANCE,
    LANGUAGE,
    AppearanceStage,
    LanguageStage,
    Recipe,
    SmallModel,
    StageConfig,
    begin_with,
    small,
)
from reid_models.publishing import assemble, data_digest, publish
from reid_models.trainer import Run, train

SIZE = (64, 32)


def quick(stage: StageConfig, epochs: int) -> StageConfig:
    gentle = replace(stage.loader.augment, erase_probability=0.0, blur_probability=0.0)
    loader = LoaderConfig(((0, SIZE),), gentle)
    return StageConfig(epochs, 3e-3, 1.0, loader, identities_per_batch=4, inventions_per_batch=4)


def taught(miniature: Source) -> Lessons:
    """With a teacher that sees mean colours of a picture's parts, and people whom it alone knows."""
    people = read_described_people([miniature])
    plain = lessons_of_people(people, decoded_images(people.samples, (128, 64)))
    composites = draw_composites(plain.images, 12, np.random.default_rng(0))
    return with_inventions(plain, mean_colours(plain.images), composites, mean_colours(composites.images))


def mean_colours(images: np.ndarray) -> np.ndarray:
    parts = images.reshape(len(images), 4, 32, 64, 3).mean(axis=(2, 3)).reshape(len(images), -1) - 90.0
    return np.asarray(parts / np.linalg.norm(parts, axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def published(miniature: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    work = tmp_path_factory.mktemp("work")
    recipe = Recipe("person_cnn_tiny_strips", SIZE, quick(APPEARANCE, 4), quick(LANGUAGE, 25))
    lessons = taught(miniature)
    people = lessons.people
    method, model = small(lessons, recipe)
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
    lessons = taught(miniature)
    model = SmallModel(lessons, Recipe("person_cnn_tiny", SIZE))
    stage = LanguageStage(model, lessons, LANGUAGE)
    token_ids, is_true = stage.draw_sentences(np.array([0, 2, 2, 6]), np.random.default_rng(0))
    assert is_true.shape == (4, 5)
    assert is_true[0, :2].all()
    assert is_true[1:3, 2:4].all()
    assert is_true[3, 4]
    assert is_true[:, 1].tolist() == [True, False, False, False]  # as somebody wrote it: of nobody else
    assert is_true[:, 3].tolist() == [False, True, True, False]
    assert (token_ids[:, 0] == 1).all()
    assert ((token_ids == model.vocabulary.size - 1).sum(dim=1) == 1).all()


def test_a_batch_with_a_teacher_has_inventions_and_one_without_has_none(miniature: Source) -> None:
    lessons = taught(miniature)
    people = lessons.people
    plain = lessons_of_people(people, lessons.images[: len(people.samples)])
    for known, inventions in ((lessons, 4), (plain, 0)):
        stage = AppearanceStage(SmallModel(known, Recipe("person_cnn_tiny", SIZE)), known, quick(APPEARANCE, 1))
        (first, *_) = stage.batches(0, np.random.default_rng(0))
        assert (known.labels[first] < 0).sum() == inventions
        losses = stage.losses(first, torch.zeros(len(first), 3, *SIZE))
        assert ("teacher" in losses) == bool(inventions)


def test_strips_name_people_by_themselves(miniature: Source) -> None:
    lessons = taught(miniature)
    for tower, has_parts in (("person_cnn_tiny_strips", True), ("person_cnn_tiny", False)):
        stage = AppearanceStage(SmallModel(lessons, Recipe(tower, SIZE)), lessons, quick(APPEARANCE, 1))
        (first, *_) = stage.batches(0, np.random.default_rng(0))
        losses = stage.losses(first, torch.zeros(len(first), 3, *SIZE))
        assert ("parts" in losses) == has_parts


def test_a_training_begins_with_the_weights_that_fit(published: Path, miniature: Source) -> None:
    lessons = taught(miniature)
    start = load_bundle(published)
    model = SmallModel(lessons, Recipe("person_cnn_tiny_strips", SIZE))
    assert begin_with(model, start) == len(start.encoder.state_dict())
    for name, value in start.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], value)
    other = SmallModel(lessons, Recipe("person_cnn_tiny", SIZE))
    taken = begin_with(other, start)
    assert 0 < taken < len(start.encoder.state_dict())
    stem = "clip.visual.trunk.stem.0.weight"
    assert torch.equal(other.encoder.state_dict()[stem], start.encoder.state_dict()[stem])
