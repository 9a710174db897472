"""A bundle learns from tracks: the candidate is another model of the same kind, and a break changes nothing."""

from __future__ import annotations

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

from reid_models.bundle import Bundle, load_bundle, save_bundle
from reid_models.datasets.sample import read_image
from reid_models.datasets.tracklets import Selection, TrackedSamples, TrackletRecord, read_tracklets
from reid_models.fine_tuning import FineTuneConfig, fine_tune, mixed
from reid_models.inference import load_encoder
from reid_models.manifest import WEIGHTS, read_manifest

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


def test_the_text_tower_does_not_learn_from_tracks(serving: Path, tracks: TrackedSamples, tmp_path: Path) -> None:
    after = load_file(fine_tune(serving, tracks, tmp_path, CONFIG, TODAY) / WEIGHTS)
    changed = {name for name, tensor in load_file(serving / WEIGHTS).items() if not torch.equal(tensor, after[name])}
    assert changed and not any(name.startswith("clip.text") for name in changed)


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


@given(st.floats(0.0, 1.0))
def test_a_mixed_state_lies_between_its_two_states(old_share: float) -> None:
    old, new = (
        {"w": torch.tensor([0.0, 2.0]), "n": torch.tensor(3)},
        {"w": torch.tensor([1.0, -2.0]), "n": torch.tensor(7)},
    )
    between = mixed(old, new, old_share)
    assert torch.allclose(between["w"], torch.tensor([1.0 - old_share, -2.0 + 4.0 * old_share]), atol=1e-5)
    assert between["n"] == 7


def test_what_keeps_the_language_keeps_it(serving: Path, tracks: TrackedSamples, tmp_path: Path) -> None:
    def drift(weight: float) -> float:
        config = replace(CONFIG, language_weight=weight, inter_epochs=4, old_share=0.0, learning_rate=2e-3)
        tuned = fine_tune(serving, tracks, tmp_path / str(weight), config, TODAY)
        images = [read_image(sample) for sample in tracks.samples]
        before, after = (load_encoder(folder, "cpu").embed_images(images).language for folder in (serving, tuned))
        return float(1.0 - np.einsum("nd,nd->n", before, after).mean())

    assert drift(20.0) < 0.5 * drift(0.0)
