"""Towers by configuration: a light CNN, a ViT and a ResNet of open_clip give all vectors from one pass."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from reid_models.encoder import (
    NO_CAMERA,
    PersonEncoder,
    PersonOptions,
    mixed,
    parameter_count,
    person_cnn_architecture,
    resized_for,
    sub_word_tokenizer,
    tiny_vit_architecture,
    with_options,
)
from reid_models.vocabulary import Vocabulary

TEXT = {"context_length": 10, "vocab_size": 30, "width": 32, "heads": 2, "layers": 1}
TOWERS: dict[str, dict[str, Any]] = {
    "person_cnn": {
        "timm_model_name": "person_cnn_tiny",
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": [64, 32],
    },
    "timm": {"timm_model_name": "resnet10t", "timm_pool": "avg", "timm_proj": "linear", "image_size": [64, 32]},
    "vit": {"image_size": [64, 32], "layers": 3, "width": 64, "patch_size": 16},
    "one_layer": {"image_size": [64, 32], "layers": 1, "width": 64, "patch_size": 16},
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16},
}


def architecture_of(tower: str) -> dict[str, Any]:
    return {"embed_dim": 24, "vision_cfg": TOWERS[tower], "text_cfg": TEXT}


def made(tower: str, **options: Any) -> PersonEncoder:
    torch.manual_seed(0)
    return PersonEncoder(with_options(architecture_of(tower), PersonOptions(**options))).eval()


@pytest.mark.parametrize("tower", TOWERS)
def test_one_pass_gives_all_vectors_and_the_projection_is_open_clips(tower: str) -> None:
    encoder = made(tower)
    height, width = torch.Size(encoder.clip.visual.image_size) if tower != "resnet" else (64, 64)
    images = torch.rand(2, 3, height, width)
    with torch.inference_mode():
        features = encoder(images)
        assert torch.allclose(features.language, encoder.clip.encode_image(images), atol=1e-5)
    assert features.appearance.shape == features.pooled.shape == (2, encoder.appearance_width)
    assert features.language.shape == (2, encoder.language_width)
    assert features.penultimate.ndim == 2 and len(features.penultimate) == 2


def test_a_vits_penultimate_feature_is_the_class_token_before_the_last_block() -> None:
    encoder = made("vit")
    images, seen = torch.rand(2, 3, 64, 32), []
    encoder.clip.visual.transformer.resblocks[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        features = encoder(images)
        visual = encoder.clip.visual
        last = visual.ln_post(visual.transformer.resblocks[-1](seen[0]))[:, 0]
    assert torch.equal(features.penultimate, seen[0][:, 0])
    assert torch.allclose(features.pooled, last, atol=1e-6)


@pytest.mark.parametrize(("tower", "width"), [("resnet", 256), ("person_cnn", 32)])
def test_where_a_tower_ends_in_maps_penultimate_is_the_mean_before_the_last_stage(tower: str, width: int) -> None:
    encoder = made(tower)
    assert encoder(torch.rand(2, 3, 64, 64)).penultimate.shape == (2, width)


@pytest.mark.parametrize("size", [(32, 32), (128, 64), (97, 51), (256, 128)])
def test_the_light_cnn_takes_any_size(size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert made("person_cnn")(torch.rand(1, 3, *size)).language.shape == (1, 24)


@pytest.mark.parametrize(
    ("tower", "size", "stride"),
    [
        ("vit", (256, 128), None),
        ("vit", (256, 128), 12),
        ("vit", (384, 128), 16),
        ("vit", (224, 224), 16),
        ("resnet", (256, 128), 16),
        ("resnet", (224, 224), None),
        ("timm", (96, 48), None),
        ("person_cnn", (96, 48), None),
    ],
)
def test_a_tower_of_another_size_is_rebuilt_from_its_stored_architecture(
    tower: str, size: tuple[int, int], stride: int | None
) -> None:
    torch.manual_seed(0)
    encoder = PersonEncoder(resized_for(architecture_of(tower), size, stride)).eval()
    stored = json.loads(json.dumps(encoder.architecture))
    assert stored == encoder.architecture  # else a bundle would have another digest after saving
    again = PersonEncoder(stored).eval()
    again.load_state_dict(encoder.state_dict())
    images = torch.rand(1, 3, *size)
    with torch.inference_mode():
        assert torch.equal(again(images).language, encoder(images).language)


@pytest.mark.parametrize("tower", ["resnet", "person_cnn"])
def test_the_pooling_of_a_map_can_be_chosen_and_its_power_learns(tower: str) -> None:
    images = torch.rand(2, 3, 64, 64)
    pooled = {}
    for pooling in ("average", "generalised_mean"):
        encoder = made(tower, pooling=pooling)
        pooled[pooling] = encoder(images).pooled
    assert (pooled["generalised_mean"] >= pooled["average"].clamp(min=0) - 1e-5).all()
    pooled["generalised_mean"].sum().backward()
    power = dict(encoder.named_parameters())["pooling.power"]
    assert power.grad is not None and power.grad.abs() > 0


@pytest.mark.parametrize("tower", ["vit", "timm"])
def test_a_tower_that_pools_by_itself_refuses_another_pooling(tower: str) -> None:
    with pytest.raises(ConfigurationError, match="pools by itself"):
        made(tower, pooling="average")


def test_a_camera_vector_moves_the_class_token_of_its_images_only() -> None:
    encoder = made("vit", cameras=3)
    images = torch.rand(1, 3, 64, 32).expand(3, -1, -1, -1)
    with torch.no_grad():
        plain = PersonEncoder(architecture_of("vit"), encoder.clip).eval()(images).language
        assert encoder.camera_vectors is not None and 0 < encoder.camera_vectors.std() < 0.04
        encoder.camera_vectors[1] = 0.0
        features = encoder(images, torch.tensor([0, 1, 2])).language
    assert torch.allclose(features[1], plain[1], atol=1e-6)
    assert not torch.allclose(features[0], plain[0], atol=1e-4)
    assert not torch.allclose(features[0], features[2], atol=1e-4)


def test_an_image_of_no_known_camera_is_seen_as_without_camera_vectors() -> None:
    encoder, images = made("vit", cameras=3), torch.rand(2, 3, 64, 32)
    with torch.no_grad():
        plain = PersonEncoder(architecture_of("vit"), encoder.clip).eval()(images)
        assert torch.equal(encoder(images, torch.full((2,), NO_CAMERA)).language, plain.language)
        assert torch.equal(encoder(images, encoder.unknown_cameras(images)).language, plain.language)


def test_cameras_are_given_exactly_to_the_models_that_know_them() -> None:
    images, cameras = torch.rand(2, 3, 64, 32), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="knows 3 cameras"):
        made("vit", cameras=3)(images)
    with pytest.raises(ValueError, match="knows 0"):
        made("vit")(images, cameras)
    with pytest.raises(ConfigurationError, match="only a ViT"):
        made("resnet", cameras=3)


def test_instance_normalisation_makes_the_model_blind_to_gain_and_tint() -> None:
    encoder = made("person_cnn", instance_normalised=True)
    images = torch.rand(2, 3, 64, 32)
    tinted = images * torch.tensor([0.5, 1.5, 0.8]).view(3, 1, 1) + 0.2
    with torch.inference_mode():
        assert torch.allclose(encoder(images).language, encoder(tinted).language, atol=1e-3)


def test_prompts_of_sub_words_give_what_their_tokens_give() -> None:
    torch.manual_seed(0)
    encoder = PersonEncoder(tiny_vit_architecture((64, 32))).eval()
    check_prompts(encoder, sub_word_tokenizer(encoder.context_length)(["A photo of a man.", "red", ""]))


def test_prompts_of_a_closed_vocabulary_give_what_their_tokens_give() -> None:
    vocabulary = Vocabulary(("a", "man", "photo", "red"))
    torch.manual_seed(0)
    encoder = PersonEncoder(person_cnn_architecture("person_cnn_tiny", (64, 32), vocabulary.size)).eval()
    check_prompts(encoder, vocabulary.encode(["a photo, a red man", "red", ""], encoder.context_length))


def check_prompts(encoder: PersonEncoder, token_ids: torch.Tensor) -> None:
    ends = token_ids.argmax(dim=1)
    embeddings = encoder.token_embedding(token_ids)
    with torch.inference_mode():
        expected = encoder.embed_tokens(token_ids)
        assert torch.allclose(encoder.embed_prompts(embeddings, ends), expected, atol=1e-6)
        cut = embeddings[:, : int(ends.max()) + 1]  # a causal tower reads nothing behind the end mark
        assert torch.allclose(encoder.embed_prompts(cut, ends), expected, atol=1e-6)


def test_a_text_tower_that_reads_both_ways_takes_no_prompts() -> None:
    encoder = PersonEncoder({**architecture_of("vit"), "text_cfg": {**TEXT, "no_causal_mask": True}})
    with pytest.raises(ConfigurationError, match="causal text tower"):
        encoder.embed_prompts(torch.zeros(1, 4, 32), torch.tensor([3]))


def test_the_shipped_architecture_has_a_small_image_tower() -> None:
    encoder = PersonEncoder(person_cnn_architecture("person_cnn_small", (128, 64), 600))
    assert parameter_count(encoder.clip.visual) <= 8_000_000
    assert parameter_count(encoder) <= 9_000_000


def test_options_left_alone_change_no_weight_name() -> None:
    plain, optional = PersonEncoder(architecture_of("person_cnn")), made("person_cnn")
    assert list(plain.state_dict()) == list(optional.state_dict())


@given(st.floats(0.0, 1.0))
def test_a_mixed_state_lies_between_its_two_states(old_share: float) -> None:
    old, new = (
        {"w": torch.tensor([0.0, 2.0]), "n": torch.tensor(3)},
        {"w": torch.tensor([1.0, -2.0]), "n": torch.tensor(7)},
    )
    between = mixed(old, new, old_share)
    assert torch.allclose(between["w"], torch.tensor([1.0 - old_share, -2.0 + 4.0 * old_share]), atol=1e-5)
    assert between["n"] == 7


def test_a_forgotten_direction_is_gone_from_the_appearance_and_nothing_else_is() -> None:
    encoder = PersonEncoder(person_cnn_architecture("person_cnn_tiny", (64, 32), 20)).eval()
    images, direction = torch.randn(5, 3, 64, 32), torch.randn(encoder.appearance_width)
    with torch.no_grad():
        before = encoder(images)
        encoder.forget(direction)
        after = encoder(images)
    unit = direction / direction.norm()
    expected = before.appearance - torch.outer(before.appearance @ unit, unit)
    torch.testing.assert_close(after.appearance, expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(after.language, before.language)
    again = PersonEncoder(encoder.architecture).eval()
    again.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(again(images).appearance, after.appearance)
