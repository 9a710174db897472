"""Models that others trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from pipeline.errors import ConfigurationError
from reid_models.inference import BundleEncoder, find_bundle

ARCHITECTURE = "tiny-vit-test"


@pytest.fixture
def architecture(tmp_path: Path) -> str:
    (tmp_path / f"{ARCHITECTURE}.json").write_text(
        '{"embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},'
        ' "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}}'
    )
    open_clip.add_model_config(tmp_path)
    return ARCHITECTURE


def test_a_local_checkpoint_gives_vectors_and_a_digest_of_its_own(architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = open_clip.create_model(architecture, force_custom_text=True)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    bundle = find_bundle(f"{architecture}/{tmp_path / 'weights.pt'}")
    encoder = BundleEncoder(bundle, torch.device("cpu"), torch.float32)
    embeddings = encoder.embed_images([np.full((50, 20, 3), 90, np.uint8)])
    assert embeddings.appearance.shape == (1, 64) and embeddings.language.shape == (1, 16)
    batch = encoder.ready_batch([np.full((50, 20, 3), 90, np.uint8)])
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(model.eval().visual(batch), dim=1).numpy()
        text = torch.nn.functional.normalize(
            model.encode_text(open_clip.get_tokenizer(architecture)(["a red coat"])), dim=1
        ).numpy()
    assert np.allclose(embeddings.language, expected, atol=1e-5)
    assert np.allclose(encoder.embed_texts(["a red coat"]), text, atol=1e-5)
    assert encoder.calibration is None and encoder.unknown_words("poncho") == []


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise AssertionError('code in a checkpoint ran')",))


def test_a_checkpoint_with_code_is_refused_and_not_run(architecture: str, tmp_path: Path) -> None:
    torch.save({"state_dict": _Harmful()}, tmp_path / "weights.pt")
    with pytest.raises(ConfigurationError, match="refused because it could run code"):
        find_bundle(f"{architecture}/{tmp_path / 'weights.pt'}")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("no-such-thing", "is neither a bundle folder, nor a shipped bundle, nor an open_clip model"),
        ("ViT-B-16", "add '/TAG' or '/PATH'"),
        ("ViT-B-16//no/such/file.pt", "copy the checkpoint here"),
    ],
)
def test_a_wrong_name_says_what_is_accepted(source: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        find_bundle(source)


def test_a_folder_that_is_no_bundle_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no manifest\.json; expected a model bundle"):
        find_bundle(tmp_path)
