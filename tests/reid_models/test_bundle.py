"""A model on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pipeline.errors import ConfigurationError, ModelVersionMismatch
from reid_models.bundle import Bundle, load_bundle, save_bundle
from reid_models.manifest import MANIFEST, WEIGHTS, LogisticCurve


@pytest.fixture
def folder(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    save_bundle(tmp_path, tiny_bundle.encoder, tiny_bundle.manifest)
    return tmp_path


def edit_manifest(folder: Path, **changes: object) -> None:
    entries = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(entries | changes))


def test_a_saved_bundle_loads_with_the_same_manifest_and_nearly_the_same_vectors(
    folder: Path, tiny_bundle: Bundle
) -> None:
    loaded = load_bundle(folder)
    assert loaded.manifest == tiny_bundle.manifest
    images = torch.rand(3, 3, 64, 32)
    with torch.inference_mode():
        stored, original = loaded.encoder(images), tiny_bundle.encoder(images)
    assert torch.nn.functional.cosine_similarity(stored.appearance, original.appearance).min() > 0.9999
    assert torch.equal(loaded.tokenize(["a red shirt"]), tiny_bundle.tokenize(["a red shirt"]))


def test_saving_what_was_loaded_keeps_the_digest(folder: Path, tmp_path: Path) -> None:
    first = load_bundle(folder)
    save_bundle(tmp_path / "again", first.encoder, first.manifest)
    assert load_bundle(tmp_path / "again").manifest.digest == first.manifest.digest


def test_other_weights_are_refused_and_both_digests_named(folder: Path, tiny_bundle: Bundle) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelVersionMismatch, match=f"manifest.json says {tiny_bundle.manifest.digest}.*copy the whole"):
        load_bundle(folder)


def test_another_vocabulary_makes_another_model(folder: Path) -> None:
    edit_manifest(folder, vocabulary=["red", "blue"])
    with pytest.raises(ModelVersionMismatch):
        load_bundle(folder)


def test_notes_may_change_without_making_another_model(folder: Path) -> None:
    edit_manifest(folder, name="renamed", metrics={"rank": 0.5})
    assert load_bundle(folder).manifest.name == "renamed"


def test_unknown_entries_are_refused(folder: Path) -> None:
    edit_manifest(folder, colour="red")
    with pytest.raises(ConfigurationError, match="colour: Extra inputs are not permitted"):
        load_bundle(folder)


@pytest.mark.parametrize(("missing", "text"), [(MANIFEST, "expected a model bundle"), (WEIGHTS, "copy the whole")])
def test_a_missing_file_is_named(folder: Path, missing: str, text: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ConfigurationError, match=text):
        load_bundle(folder)


def test_a_cut_off_weights_file_is_reported_as_damaged(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(ConfigurationError, match="is damaged"):
        load_bundle(folder)


def test_a_pickle_in_place_of_the_weights_is_refused(folder: Path) -> None:
    torch.save({"a": torch.zeros(1)}, folder / WEIGHTS)
    with pytest.raises(ConfigurationError, match="is damaged"):
        load_bundle(folder)


def test_a_curve_gives_a_probability_for_any_similarity() -> None:
    curve = LogisticCurve(slope=20.0, intercept=-10.0)
    assert curve.probability(0.5) == pytest.approx(0.5)
    assert 0.0 <= curve.probability(-1e9) < curve.probability(0.6) < curve.probability(1e9) <= 1.0
