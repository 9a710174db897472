"""Models that others trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file

from pipeline.errors import ConfigurationError
from reid_models.encoder import PersonEncoder, PersonOptions
from reid_models.imported import pretrained_encoder
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
    size = bundle.manifest.input
    grey = (torch.full((1, 32, 32, 3), 90 / 255.0) - torch.tensor(size.mean)) / torch.tensor(size.std)
    batch = grey.permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(model.eval().visual(batch), dim=1).numpy()
        text = torch.nn.functional.normalize(
            model.encode_text(open_clip.get_tokenizer(architecture)(["a red coat"])), dim=1
        ).numpy()
    assert np.allclose(embeddings.language, expected, atol=1e-5)
    assert np.allclose(encoder.embed_texts(["a red coat"]), text, atol=1e-5)
    assert encoder.calibration is None and encoder.unknown_words("poncho") == []


def test_training_begins_with_the_published_weights_at_another_size(architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = open_clip.create_model(architecture, force_custom_text=True)
    save_file(model.half().state_dict(), tmp_path / "weights.safetensors")
    source = f"{architecture}/{tmp_path / 'weights.safetensors'}"
    encoder = pretrained_encoder(source, PersonOptions(image_size=(64, 32), stride=12, cameras=2))
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert encoder(torch.rand(2, 3, 64, 32), torch.tensor([0, 1])).language.shape == (2, 16)
    assert torch.equal(encoder.clip.visual.conv1.weight, model.float().visual.conv1.weight)
    again = PersonEncoder(encoder.architecture)  # as a bundle does
    again.load_state_dict(encoder.state_dict())


def test_a_resnet_becomes_a_bundle_of_its_square_size(tmp_path: Path) -> None:
    (tmp_path / "tiny-resnet-test.json").write_text(
        '{"embed_dim": 16, "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16},'
        ' "text_cfg": {"context_length": 20, "vocab_size": 100, "width": 32, "heads": 2, "layers": 1}}'
    )
    open_clip.add_model_config(tmp_path)
    torch.save(open_clip.create_model("tiny-resnet-test", force_custom_text=True).state_dict(), tmp_path / "weights.pt")
    manifest = find_bundle(f"tiny-resnet-test/{tmp_path / 'weights.pt'}").manifest
    assert (manifest.input.height_px, manifest.input.width_px) == (64, 64)


def test_a_tags_activation_comes_with_it(architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(open_clip.create_model(architecture, force_custom_text=True).state_dict(), tmp_path / "weights.pt")
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: {"quick_gelu": True})
    encoder = pretrained_encoder(f"{architecture}/{tmp_path / 'weights.pt'}")
    again = PersonEncoder(encoder.architecture)
    for tower in (encoder.clip, again.clip):
        assert all(isinstance(block.mlp.gelu, QuickGELU) for block in tower.visual.transformer.resblocks)
        assert all(isinstance(block.mlp.gelu, QuickGELU) for block in tower.text.transformer.resblocks)


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
