"""Which runtime the settings and a trial give an embedder."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigurationError
from pipeline.runtimes.machine import CACHE_VARIABLE
from pipeline.runtimes.runtime import Precision, RuntimeName
from pipeline.runtimes.trial import Candidate, Outcome, Trial
from reid_models.bundle import save_bundle
from reid_models.encoder import PersonEncoder, person_cnn_architecture
from reid_models.manifest import Training
from reid_models.publishing import assemble
from reid_models.serving.artefacts import artefacts_of
from reid_models.serving.exporting import exported
from reid_models.vocabulary import Vocabulary
from services import encoders
from services.encoders import chosen_outcome, open_crop_encoder, trial_config, try_runtimes
from services.probe_crops import PROBE_CROPS, probe_crops
from services.settings import Settings


def settings(**embedding: object) -> Settings:
    return Settings.model_validate({"embedding": {"device": "cpu", "threads": 1, "batch_crops": 8, **embedding}})


def outcome(runtime: RuntimeName, precision: Precision, crops_per_s: float, problem: str = "") -> Outcome:
    return Outcome(runtime=runtime, precision=precision, crops_per_s=crops_per_s, problem=problem)


TRIAL = Trial(
    outcomes=(
        outcome("torch", "fp32", 10.0),
        outcome("torch", "bf16", 20.0),
        outcome("onnxruntime", "fp32", 15.0),
        outcome("openvino", "bf16", 30.0),
        outcome("openvino", "int8", 60.0, "the vectors differ"),
    )
)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tiny bundle, a cache of its own, and a trial that has been made already."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(encoders, "encoder_trial", lambda settings, folder: TRIAL)
    monkeypatch.setattr(encoders, "_PACKAGES", set())  # torch is loaded here by other tests
    encoder = PersonEncoder(person_cnn_architecture("person_cnn_tiny", (64, 32), 6)).eval()
    training = Training(description="not trained", data_digest="none")
    made = assemble("tiny", date(2026, 1, 2), encoder, Vocabulary(("a", "man")), training, "Apache-2.0", (64, 32))
    save_bundle(tmp_path / "tiny", made.encoder, made.manifest)
    exported(made, artefacts_of(tmp_path / "tiny"))  # here, where torch is loaded already
    return str(tmp_path / "tiny")


@pytest.mark.parametrize(
    ("embedding", "expected"),
    [
        ({}, ("openvino", "bf16")),
        ({"runtime": "torch"}, ("torch", "bf16")),
        ({"precision": "fp32"}, ("onnxruntime", "fp32")),
        ({"runtime": "torch", "precision": "fp32"}, ("torch", "fp32")),
    ],
)
def test_the_fastest_that_is_right_and_permitted_serves(
    bundle: str, embedding: dict[str, object], expected: tuple[str, str]
) -> None:
    encoder = open_crop_encoder(settings(**embedding), bundle)
    assert (encoder.images.name, encoder.images.precision) == expected
    assert encoder.embed_images([np.zeros((20, 9, 3), np.uint8)]).language.shape == (1, 256)


def test_a_forced_runtime_that_is_refused_stops_the_start_with_the_reason(bundle: str) -> None:
    with pytest.raises(ConfigurationError, match="openvino int8: the vectors differ"):
        open_crop_encoder(settings(runtime="openvino", precision="int8"), bundle)
    with pytest.raises(ConfigurationError, match="there is no such pair"):
        open_crop_encoder(settings(runtime="onnxruntime", precision="int8"), bundle)


def test_without_any_usable_trial_torch_serves(bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Trial(outcomes=(outcome("torch", "fp32", 1.0, "took longer than 3 s"),))
    monkeypatch.setattr(encoders, "encoder_trial", lambda settings, folder: nothing)
    assert open_crop_encoder(settings(), bundle).images.name == "torch"


def test_where_no_trial_can_be_kept_torch_serves(bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(settings: Settings, folder: Path) -> Trial:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(encoders, "encoder_trial", read_only)
    assert open_crop_encoder(settings(), bundle).images.name == "torch"
    try_runtimes(settings(model=bundle))  # and `up` starts


def test_a_runtime_at_work_in_this_process_is_preferred_to_a_faster_one() -> None:
    chosen = settings().embedding
    names = [
        one.runtime if (one := chosen_outcome(TRIAL, chosen, at_work)) else None
        for at_work in ((), ("onnxruntime",), ("torch",), ("abacus",))
    ]
    assert names == ["openvino", "onnxruntime", "torch", "openvino"]


def test_a_model_that_is_no_bundle_is_for_torch_alone() -> None:
    with pytest.raises(ConfigurationError, match="sightline models import ViT-B-16/openai"):
        open_crop_encoder(settings(runtime="openvino"), "ViT-B-16/openai")


def test_settings_narrow_what_is_tried() -> None:
    assert trial_config(settings(runtime="openvino", precision="int8")).candidates == (Candidate("openvino", "int8"),)
    assert {one.runtime for one in trial_config(settings(runtime="openvino")).candidates} == {"openvino"}
    assert Candidate("torch-compiled", "fp32") in trial_config(settings(runtime="torch-compiled")).candidates
    assert "torch-compiled" not in {one.runtime for one in trial_config(settings()).candidates}


def test_probe_crops_are_many_different_pictures_and_the_same_each_time() -> None:
    first, second = probe_crops(64, 32), probe_crops(64, 32)
    assert first.shape == (PROBE_CROPS, 64, 32, 3)
    np.testing.assert_array_equal(first, second)
    flat = first.reshape(PROBE_CROPS, -1).astype(np.float32)
    distances = np.abs(flat[:, None] - flat).mean(axis=2) + 255.0 * np.eye(PROBE_CROPS)
    assert distances.min() > 3.0
    assert first.std(axis=(1, 2, 3)).min() > 10.0
