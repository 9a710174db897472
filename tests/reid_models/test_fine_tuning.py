"""A bundle learns from tracks: the candidate is another model of the same kind, and a break changes nothing."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn import functional

from reid_models.bundle import Bundle, load_bundle, save_bundle
from reid_models.datasets.sample import I64, identities_of, read_image
from reid_models.datasets.tracklets import Selection, TrackedSamples, TrackletRecord, read_tracklets
from reid_models.datasets.training_sets import intra_camera_set
from reid_models.fine_tuning import FineTuneConfig, fine_tune, linked_labels, people_of
from reid_models.inference import load_encoder
from reid_models.language_keeper import LanguageWeights, distance_loss, relation_loss, shared_by_person
from reid_models.loader import LoaderConfig
from reid_models.manifest import WEIGHTS, read_manifest
from reid_models.methods.ccafl import CcaflConfig, InterCameraStage, IntraCameraStage, ccafl
from reid_models.track_linking import LinkingConfig

TODAY = date(2026, 5, 1)
CONFIG = FineTuneConfig(intra_epochs=1, inter_epochs=2, identities_per_batch=4, images_per_identity=2)


@pytest.fixture(scope="module")
def tracks() -> TrackedSamples:
    """Six people of distinct colours before two cameras, four crops each."""
    rng, crops, records = np.random.default_rng(0), {}, []
    for camera in ("gate", "hall"):
        for person in range(6):
            colour = np.eye(3)[person % 3] * 150 + (person // 3) * 60
            keys = []
            for number in range(4):
                picture = np.clip(rng.normal(colour, 20, (64, 32, 3)), 0, 255).astype(np.uint8)
                keys.append(f"{camera}-{person}-{number}")
                crops[keys[-1]] = cv2.imencode(".jpg", picture)[1].tobytes()
            track = f"{camera}/b1/{person}"
            records.append(TrackletRecord(camera, track, f"{track}/0", 10.0 * person, 10.0 * person + 4, tuple(keys)))
    return read_tracklets(records, crops.__getitem__, Selection(), 100.0).train


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Path:
    folder = tmp_path_factory.mktemp("serving")
    save_bundle(folder, tiny_bundle.encoder, tiny_bundle.manifest)
    return folder


def test_the_candidate_is_a_valid_bundle_with_other_weights_and_the_same_words(
    serving: Path, tracks: TrackedSamples, tmp_path: Path
) -> None:
    candidate = load_bundle(fine_tune(serving, tracks, tmp_path, CONFIG, TODAY)).manifest
    before = read_manifest(serving)
    assert candidate.digest != before.digest
    assert (candidate.vocabulary, candidate.architecture) == (before.vocabulary, before.architecture)
    assert before.digest in candidate.training.description
    assert candidate.created == "2026-05-01"


def test_running_statistics_stay_those_of_the_serving_model(
    serving: Path, tracks: TrackedSamples, tmp_path: Path
) -> None:
    candidate = fine_tune(serving, tracks, tmp_path, CONFIG, TODAY)
    before, after = (load_bundle(folder).encoder.state_dict() for folder in (serving, candidate))
    names = [name for name in before if name.endswith(("running_mean", "running_var"))]
    assert names
    for name in names:
        assert torch.equal(before[name], after[name]), name


def test_the_text_tower_does_not_learn_from_tracks(serving: Path, tracks: TrackedSamples, tmp_path: Path) -> None:
    after = load_file(fine_tune(serving, tracks, tmp_path, CONFIG, TODAY) / WEIGHTS)
    changed = {name for name, tensor in load_file(serving / WEIGHTS).items() if not torch.equal(tensor, after[name])}
    assert changed and not any(name.startswith("clip.text") for name in changed)


def test_pieces_of_a_broken_track_teach_as_one_person(tracks: TrackedSamples) -> None:
    """Of the six at each camera the last two are pieces of one; the first two stand side by side, which says how alike
    strangers are."""
    people = identities_of(tracks.samples) - 1
    looks = np.eye(12)[np.where(people % 6 == 5, people - 1, people)]
    beside = replace(
        tracks,
        track_started_at=np.where(people % 6 < 2, 0.0, tracks.track_started_at),
        track_ended_at=np.where(people % 6 < 2, 4.0, tracks.track_ended_at),
    )
    labels = linked_labels(beside, (looks + 0.1).astype(np.float32), LinkingConfig())
    expected = np.where(people % 6 == 5, people - 1, people)
    assert labels.max() + 1 == 10
    assert np.array_equal(labels[:, None] == labels, expected[:, None] == expected)


class Stopped(BaseException):
    """What a kill looks like from inside."""


def test_a_killed_training_goes_on_to_the_same_candidate(serving: Path, tracks: TrackedSamples, tmp_path: Path) -> None:
    epochs = 0

    def die_after_two() -> bool:
        nonlocal epochs
        epochs += 1
        if epochs == 3:
            raise Stopped
        return False

    whole = fine_tune(serving, tracks, tmp_path / "whole", CONFIG, TODAY)
    with pytest.raises(Stopped):
        fine_tune(serving, tracks, tmp_path / "broken", CONFIG, TODAY, die_after_two)
    resumed = fine_tune(serving, tracks, tmp_path / "broken", CONFIG, TODAY)
    assert read_manifest(resumed).digest == read_manifest(whole).digest


def test_when_the_time_is_up_what_was_learnt_so_far_is_the_candidate(
    serving: Path, tracks: TrackedSamples, tmp_path: Path
) -> None:
    short = fine_tune(serving, tracks, tmp_path / "short", CONFIG, TODAY, lambda: True)
    whole = fine_tune(serving, tracks, tmp_path / "whole", CONFIG, TODAY)
    digests = {read_manifest(folder).digest for folder in (serving, short, whole)}
    assert len(digests) == 3


def test_with_the_whole_weight_on_the_old_model_the_candidate_is_the_old_model(
    serving: Path, tracks: TrackedSamples, tmp_path: Path
) -> None:
    after = load_file(fine_tune(serving, tracks, tmp_path, replace(CONFIG, old_share=1.0), TODAY) / WEIGHTS)
    before = load_file(serving / WEIGHTS)
    assert all(
        torch.allclose(before[name].float(), after[name].float(), atol=1e-3) for name in before if "num_" not in name
    )


def test_what_keeps_the_language_keeps_it(serving: Path, tracks: TrackedSamples, tmp_path: Path) -> None:
    def drift(weights: LanguageWeights) -> float:
        config = replace(CONFIG, language=weights, inter_epochs=4, old_share=0.0, learning_rate=2e-3)
        tuned = fine_tune(serving, tracks, tmp_path / str(weights.distance), config, TODAY)
        images = [read_image(sample) for sample in tracks.samples]
        before, after = (load_encoder(folder, "cpu").embed_images(images).language for folder in (serving, tuned))
        return float(1.0 - np.einsum("nd,nd->n", before, after).mean())

    assert drift(LanguageWeights()) < 0.5 * drift(LanguageWeights(0.0, 0.0))


unit_rows = st.integers(0, 2**32 - 1).map(
    lambda seed: functional.normalize(torch.randn(9, 5, generator=torch.Generator().manual_seed(seed)), dim=1)
)


@given(unit_rows, st.lists(st.integers(0, 3), min_size=9, max_size=9))
def test_all_images_of_a_person_share_the_direction_of_their_sum(features: torch.Tensor, people: list[int]) -> None:
    shared = shared_by_person(features, np.array(people, np.int64) * 7)
    for row, person in zip(shared, people, strict=True):
        total = features[[other == person for other in people]].sum(dim=0)
        assert torch.allclose(row, total / total.norm(), atol=1e-5)


@given(unit_rows, unit_rows)
def test_language_losses_are_least_at_the_targets(features: torch.Tensor, targets: torch.Tensor) -> None:
    for loss in (distance_loss, relation_loss):
        assert loss(features, targets) >= loss(targets, targets) - 1e-6
        assert loss(targets, targets) == pytest.approx(0.0, abs=1e-5)


def test_the_relation_counts_who_is_whom_and_not_what_all_have_in_common() -> None:
    """Two people far from a common direction: exchanged they are as near to their targets' mean, but they are wrong."""
    targets = functional.normalize(torch.tensor([[5.0, 1.0], [5.0, -1.0]]), dim=1)
    assert distance_loss(targets.flip(0), targets) < 0.1
    assert relation_loss(targets.flip(0), targets) > 0.5


def test_images_count_as_one_person_where_classes_are_linked_and_a_lone_class_is_a_person(tiny_bundle: Bundle) -> None:
    classes = np.array([0, 0, 1, 2, 3, 3], np.int64)
    data = intra_camera_set(np.zeros((6, 64, 32, 3), np.uint8), np.array([0, 0, 0, 1, 1, 1], np.int64), classes)
    config = CcaflConfig(LoaderConfig(((0, (64, 32)),)), prompt_epochs=0)
    intra, inter = ccafl(copy.deepcopy(tiny_bundle.encoder), tiny_bundle.tokenize, data, config).stages
    assert isinstance(intra, IntraCameraStage) and isinstance(inter, InterCameraStage)
    inter.components = np.array([0, -1, -1, 0], np.int64)
    assert same_people(people_of(intra)) == same_people(classes)
    assert same_people(people_of(inter)) == same_people(np.array([0, 0, 1, 2, 0, 0]))


def same_people(labels: I64) -> list[list[bool]]:
    """The partition that labels make, whatever they are called."""
    rows: list[list[bool]] = (labels[:, None] == labels).tolist()
    return rows
