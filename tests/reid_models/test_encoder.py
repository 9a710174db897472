"""Towers by configuration: a light CNN, a ViT and a ResNet of open_clip give both vectors from one pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reid_models.encoder import PersonEncoder, parameter_count, person_cnn_architecture

TEXT = {"context_length": 10, "vocab_size": 30, "width": 32, "heads": 2, "layers": 1}
TOWERS: dict[str, dict[str, Any]] = {
    "person_cnn": {
        "timm_model_name": "person_cnn_tiny",
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": [64, 32],
    },
    "timm": {"timm_model_name": "resnet10t", "timm_pool": "avg", "timm_proj": "linear", "image_size": [64, 32]},
    "vit": {"image_size": [64, 32], "layers": 1, "width": 64, "patch_size": 16},
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16},
}


@pytest.mark.parametrize("tower", TOWERS)
def test_one_pass_gives_both_vectors_and_the_projection_is_open_clips(tower: str) -> None:
    torch.manual_seed(0)
    encoder = PersonEncoder({"embed_dim": 24, "vision_cfg": TOWERS[tower], "text_cfg": TEXT}).eval()
    height, width = torch.Size(encoder.clip.visual.image_size) if tower != "resnet" else (64, 64)
    images = torch.rand(2, 3, height, width)
    with torch.inference_mode():
        features = encoder(images)
        assert torch.allclose(features.language, encoder.clip.encode_image(images), atol=1e-5)
    assert features.appearance.shape == features.pooled.shape == (2, encoder.appearance_width)
    assert features.language.shape == (2, encoder.language_width)


@pytest.mark.parametrize("size", [(32, 32), (128, 64), (97, 51), (256, 128)])
def test_the_light_cnn_takes_any_size(size: tuple[int, int]) -> None:
    encoder = PersonEncoder({"embed_dim": 24, "vision_cfg": TOWERS["person_cnn"], "text_cfg": TEXT}).eval()
    with torch.inference_mode():
        assert encoder(torch.rand(1, 3, *size)).language.shape == (1, 24)


def test_the_shipped_architecture_has_a_small_image_tower() -> None:
    encoder = PersonEncoder(person_cnn_architecture("person_cnn_small", (128, 64), 600))
    assert parameter_count(encoder.clip.visual) <= 8_000_000
    assert parameter_count(encoder) <= 9_000_000


def test_the_necks_shift_stays_zero_in_training() -> None:
    encoder = PersonEncoder({"embed_dim": 24, "vision_cfg": TOWERS["person_cnn"], "text_cfg": TEXT})
    assert not encoder.neck.bias.requires_grad
    assert encoder.neck.weight.requires_grad
