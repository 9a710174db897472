"""Models that others trained, imported by the command line from checkpoints that open_clip saved here."""

from __future__ import annotations

import json
import re
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from pipeline import torchvision_cpu
from pipeline.errors import ConfigurationError
from reid_models.inference import load_encoder
from reid_models.manifest import Manifest, read_manifest
from services.cli import app

torchvision_cpu.install()

import open_clip  # noqa: E402  (torchvision must be importable first)

ARCHITECTURE = "tiny-import-test"
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def sightline(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["models", *words, "--data-dir", str(folder / "site")])


@pytest.fixture
def model(tmp_path: Path) -> torch.nn.Module:
    (tmp_path / f"{ARCHITECTURE}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(tmp_path)
    torch.manual_seed(0)
    made: torch.nn.Module = open_clip.create_model(ARCHITECTURE, force_custom_text=True).eval()
    return made


def imported(folder: Path, done: Result) -> Manifest:
    assert done.exit_code == 0, done.output
    found = re.search(r"registry as ([0-9a-f]{16})", done.output)
    assert found is not None
    return read_manifest(folder / "site" / "models" / found[1])


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_checkpoint_becomes_a_bundle_with_an_honest_manifest(
    tmp_path: Path, model: torch.nn.Module, suffix: str
) -> None:
    file = tmp_path / f"weights.{suffix}"
    if suffix == "pt":
        torch.save({"state_dict": model.state_dict()}, file)
    else:
        save_file(model.state_dict(), file)
    done = sightline(tmp_path, "import", f"{ARCHITECTURE}/{file}")
    manifest = imported(tmp_path, done)
    assert manifest.name == f"{ARCHITECTURE}/weights"
    assert str(tmp_path) not in manifest.model_dump_json()
    assert (manifest.calibration, manifest.metrics) == (None, {})
    assert "by others" in manifest.training.description and "unknown" in manifest.licence
    assert "not calibrated" in done.output and f"models promote {manifest.digest}" in done.output
    assert done.exit_code == sightline(tmp_path, "promote", manifest.digest).exit_code == 0
    encoder = load_encoder(tmp_path / "site" / "models" / manifest.digest, device="cpu")
    crop = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    size = manifest.input
    batch = torch.from_numpy((crop / 255.0 - size.mean) / size.std).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(model.visual(batch), dim=1).numpy()  # type: ignore[operator]
    assert float((encoder.embed_images([crop]).language * expected).sum()) > 0.999


def test_name_size_and_licence_are_as_given(tmp_path: Path, model: torch.nn.Module) -> None:
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    words = ["--name", "my-clip", "--image-size", "64x48", "--licence", "MIT"]
    manifest = imported(
        tmp_path, sightline(tmp_path, "import", f"{ARCHITECTURE}/{tmp_path}/weights.safetensors", *words)
    )
    assert (manifest.name, manifest.licence) == ("my-clip", "MIT")
    assert (manifest.input.height_px, manifest.input.width_px) == (64, 48)
    encoder = load_encoder(tmp_path / "site" / "models" / manifest.digest, device="cpu")
    assert encoder.embed_images([np.zeros((90, 40, 3), np.uint8)]).language.shape == (1, 16)


def test_a_copied_hub_folder_is_read_offline(tmp_path: Path, model: torch.nn.Module) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": preprocess}))
    manifest = imported(tmp_path, sightline(tmp_path, "import", f"local-dir:{folder}"))
    assert manifest.name == "my-model"
    assert manifest.input.mean == (0.5, 0.5, 0.5)


def test_calibration_comes_with_data_and_with_words_only_if_there_are_sentences(
    tmp_path: Path, model: torch.nn.Module, people: Path, captions: Path
) -> None:
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    words = ["import", f"{ARCHITECTURE}/{tmp_path}/weights.safetensors", "--calibrate", str(people)]
    done = sightline(tmp_path, *words)
    calibration = imported(tmp_path, done).calibration
    assert calibration is not None and calibration.language is None
    assert calibration.measured_on == "people: 4 identities"
    assert "words are not calibrated" in done.output
    captions.rename(people / "captions.json")
    done = sightline(tmp_path, *words)
    manifest = imported(tmp_path, done)
    assert manifest.calibration is not None and manifest.calibration.language is not None
    assert set(manifest.metrics) == {"image_mean_average_precision", "image_rank_1", "caption_person_rank_1"}
    assert "not calibrated" not in done.output


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise AssertionError('code in a checkpoint ran')",))


def refusal(folder: Path, *words: str) -> str:
    done = sightline(folder, "import", *words)
    assert isinstance(done.exception, ConfigurationError), done.output
    assert not list((folder / "site").glob("models/*/manifest.json"))
    return str(done.exception)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # what OpenAI's files are made of
def test_checkpoints_that_cannot_be_used_are_refused_with_the_reason(tmp_path: Path, model: torch.nn.Module) -> None:
    torch.save({"state_dict": _Harmful()}, tmp_path / "harmful.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.pt")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "broken.safetensors").write_bytes(b"nonsense")
    save_file({"visual.conv1.weight": torch.zeros(3, 3, 16, 16)}, tmp_path / "other.safetensors")
    for name, reason in {
        "harmful.pt": "refused because it could run code",
        "script.pt": "refused because it could run code",
        "empty.pt": "cannot be read",
        "broken.safetensors": "cannot be read",
        "other.safetensors": "expected all weights of this architecture",
    }.items():
        assert reason in refusal(tmp_path, f"{ARCHITECTURE}/{tmp_path / name}")
    assert f"as ViT-B-16/{tmp_path}" in refusal(tmp_path, str(tmp_path / "empty.pt"))
    assert "open_clip_config.json" in refusal(tmp_path, f"local-dir:{tmp_path}")


def test_words_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    text = {"context_length": 20, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
    config = CONFIG | {"text_cfg": text | {"hf_tokenizer_name": "bert-base-uncased"}}
    (tmp_path / "tiny-foreign-words.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    made = open_clip.create_model("tiny-foreign-words", force_custom_text=True)
    save_file(made.state_dict(), tmp_path / "weights.safetensors")
    assert "reads words by bert-base-uncased" in refusal(tmp_path, f"tiny-foreign-words/{tmp_path}/weights.safetensors")


@pytest.mark.parametrize("source", ["ViT-B-16/openai", "hf-hub:somebody/some-model"])
def test_offline_it_says_that_a_download_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert "must be downloaded" in refusal(tmp_path, source)


def test_options_that_make_no_sense_are_refused(tmp_path: Path, captions: Path) -> None:
    assert "expected height x width" in refusal(tmp_path, "sightline-small", "--image-size", "256")
    assert "leave these options out" in refusal(tmp_path, "sightline-small", "--image-size", "256x128")
    assert "--calibrate DATA" in refusal(tmp_path, "sightline-small", "--captions", str(captions))
