"""CPCL on generated pairs: labels by place, outliers, every switch, the loss against a naive composition, resume."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file
from torch import Tensor

from pipeline.errors import ConfigurationError
from reid_models.datasets.sample import F32, I64
from reid_models.datasets.training_sets import PairSet
from reid_models.encoder import PersonEncoder, sub_word_tokenizer
from reid_models.loader import LoaderConfig, clean_batches
from reid_models.methods.cpcl import (
    CLIP_MASK_TOKEN,
    VIT_B16,
    CpclConfig,
    CpclStage,
    PseudoLabels,
    cpcl,
    info_nce,
    mask_words,
    matches,
    pseudo_labels,
)
from reid_models.pseudo_labels import JaccardConfig
from reid_models.schedules import OptimiserConfig
from reid_models.trainer import Method, Run, TrainerConfig, train
from reid_models.transforms import AugmentConfig
from reid_models.vocabulary import PAD, START, UNKNOWN, learn_vocabulary

SIZE = (32, 16)
CONTEXT_LENGTH = 10
COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200), "green": (20, 160, 40), "white": (240, 240, 240)}
TAU = 0.1
CONFIG = CpclConfig(
    LoaderConfig(((0, SIZE),), AugmentConfig(blur_probability=0.0)),
    epochs=4,
    batch=8,
    temperature=TAU,
    warm_up_epochs=1,
    jaccard=JaccardConfig(k1=5, k2=2),
    least_samples=2,
    own_weight=0.7,
    cross_weight=0.4,
    encoder=OptimiserConfig(3e-3),
)
OWN_TERMS, CROSS_TERMS = {"image_image", "text_text"}, {"image_text", "text_image"}


def people(captions_per_image: int = 2) -> PairSet:
    """24 images, the colour of image i is i modulo 4; each image has some captions, in mixed order."""
    rng = np.random.default_rng(0)
    images = rng.normal(90, 10, (24, *SIZE, 3))
    for place in range(24):
        images[place, 6:20, 3:13] = np.array(list(COLOURS.values())[place % 4]) + rng.normal(0, 5, (14, 10, 3))
    image_of_caption = rng.permutation(np.repeat(np.arange(24), captions_per_image)).astype(np.int64)
    captions = tuple(
        f"a {rng.choice(['man', 'person'])} in a {list(COLOURS)[place % 4]} shirt" for place in image_of_caption
    )
    return PairSet(np.clip(images, 0, 255).astype(np.uint8), captions, image_of_caption)


VOCABULARY = learn_vocabulary(people().captions, 1)


def tokenize(sentences: tuple[str, ...] | list[str]) -> Tensor:
    return VOCABULARY.encode(sentences, CONTEXT_LENGTH)


def method_for(config: CpclConfig, data: PairSet | None = None) -> tuple[Method, CpclStage]:
    torch.manual_seed(0)
    vision = {
        "timm_model_name": "person_cnn_tiny", "timm_pool": "", "timm_proj": "linear", "image_size": list(SIZE),
    }  # fmt: skip
    text = {"context_length": CONTEXT_LENGTH, "vocab_size": VOCABULARY.size, "width": 32, "heads": 2, "layers": 1}
    encoder = PersonEncoder({"embed_dim": 32, "vision_cfg": vision, "text_cfg": text})
    method = cpcl(encoder, tokenize, people() if data is None else data, config)
    (stage,) = method.stages
    assert isinstance(stage, CpclStage)
    return method, stage


def prepared(config: CpclConfig, epoch: int = 1, seed: int = 0) -> tuple[CpclStage, list[I64]]:
    _, stage = method_for(config)
    return stage, list(stage.batches(epoch, np.random.default_rng(seed)))


def batch_images(stage: CpclStage, indices: I64) -> Tensor:
    (images,) = clean_batches(stage.data.images[stage.data.image_of_caption[indices]], SIZE, torch.device("cpu"))
    return images


def terms(stage: CpclStage, indices: I64) -> dict[str, float]:
    return {name: loss.item() for name, loss in stage.losses(indices, batch_images(stage, indices)).items()}


def unit_features(stage: CpclStage, indices: I64) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        v = stage.encoder(batch_images(stage, indices)).language
        t = stage.encoder.embed_tokens(tokenize([stage.data.captions[place] for place in indices]))
    return v / v.norm(dim=1, keepdim=True), t / t.norm(dim=1, keepdim=True)


def test_a_run_that_was_interrupted_ends_with_the_same_weights(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=3, mask_token=UNKNOWN)
    for folder, stops in (("straight", [None]), ("interrupted", [1, 2, None])):
        for stop in stops:
            method, _ = method_for(config)
            train(method, TrainerConfig(stop_after_epochs=stop), Run(tmp_path / folder))
    straight, interrupted = (
        load_file(tmp_path / folder / "checkpoint.safetensors") for folder in ("straight", "interrupted")
    )
    assert all(torch.equal(straight[name], interrupted[name]) for name in straight | interrupted)


def test_captions_find_images_of_their_colour_after_training(tmp_path: Path) -> None:
    method, stage = method_for(replace(CONFIG, epochs=8))
    clusters: list[float] = []
    told = Run(tmp_path, report=lambda _, __, figures: clusters.append(figures.get("image_clusters", 0)))
    train(method, TrainerConfig(), told)
    assert clusters[0] == 0 < clusters[-1]
    stage.encoder.eval()
    v, t = unit_features(stage, np.arange(len(stage.data.captions)))
    found = stage.data.image_of_caption[(t @ v.T).argmax(dim=1).numpy()]
    assert (found % 4 == stage.data.image_of_caption % 4).mean() > 0.9  # by chance a quarter


def test_labels_belong_to_places_whatever_order_is_drawn() -> None:
    stage, first = prepared(CONFIG, seed=1)
    assert stage.labels is not None
    images, captions = stage.labels.images, stage.labels.captions
    second = list(stage.batches(1, np.random.default_rng(2)))
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    assert np.array_equal(images, stage.labels.images)
    assert np.array_equal(captions, stage.labels.captions)
    # An untrained tower already tells four colours and four sentences apart.
    for labels, colours in ((images, np.arange(24) % 4), (captions, stage.data.image_of_caption % 4)):
        labelled = labels >= 0
        assert labelled.any()
        assert {len(np.unique(colours[labels == label])) for label in np.unique(labels[labelled])} == {1}


@given(st.data())
def test_an_outlier_matches_its_own_image_and_nothing_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 12))
    images, image_labels, text_labels = (
        data.draw(arrays(np.int64, size, elements=st.integers(low, 4))) for low in (0, -1, -1)
    )
    found = matches(images, image_labels, text_labels)
    for i in range(size):
        for j in range(size):
            same_cluster = (image_labels[i] == image_labels[j] != -1) or (text_labels[i] == text_labels[j] != -1)
            assert found[i, j] == (images[i] == images[j] or same_cluster)


@pytest.mark.parametrize("is_hybrid", [True, False])
def test_the_loss_is_the_sum_of_its_terms_computed_one_pair_at_a_time(is_hybrid: bool) -> None:
    stage, batches = prepared(replace(CONFIG, has_hybrid_matching=is_hybrid))
    indices = batches[0]
    v, t = unit_features(stage, indices)
    assert stage.labels is not None and stage.memories is not None
    places = stage.data.image_of_caption[indices]
    # Some outliers on both sides, so that they are seen to be left out.
    stage.labels.images[places[0]] = stage.labels.captions[indices[1]] = -1
    a, b = stage.labels.images[places], stage.labels.captions[indices]
    u, w = (memory.centroids for memory in stage.memories)

    def share(feature: Tensor, others: Tensor, wanted: int) -> float:
        weights = [math.exp(float(feature @ other) / TAU) for other in others]
        return weights[wanted] / sum(weights)

    def prototype_term(features: Tensor, prototypes: Tensor, labels: I64) -> float:
        costs = [-math.log(share(features[i], prototypes, labels[i])) for i in range(8) if labels[i] >= 0]
        return sum(costs) / len(costs)

    def divergence(features: Tensor, others: Tensor) -> float:
        total = 0.0
        for i in range(8):
            is_match = [
                places[i] == places[j] or (a[i] >= 0 and a[i] == a[j]) or (b[i] >= 0 and b[i] == b[j]) for j in range(8)
            ]
            for j in range(8):
                p = share(features[i], others, j)
                total += p * math.log(p / (is_match[j] / sum(is_match) + 1e-8))
        return total / 8

    expected = {"image_image": 0.7 * prototype_term(v, u, a), "text_text": 0.7 * prototype_term(t, w, b)}
    if is_hybrid:
        expected |= {"image_text": 0.4 * prototype_term(v, w, b), "text_image": 0.4 * prototype_term(t, u, a)}
        expected["instance"] = divergence(v, t) + divergence(t, v)
    else:
        expected["instance"] = sum(
            -math.log(share(x[i], y, i)) for x, y in ((v, t), (t, v)) for i in range(8)
        ) / 16  # fmt: skip
    assert terms(stage, indices) == pytest.approx(expected, rel=1e-4)


def test_prototypes_follow_the_batch_one_feature_after_the_other() -> None:
    stage, batches = prepared(replace(CONFIG, momentum=0.8))
    indices = batches[0]
    v, _ = unit_features(stage, indices)
    assert stage.labels is not None and stage.memories is not None
    expected = stage.memories[0].centroids.clone()
    for feature, label in zip(v, stage.labels.images[stage.data.image_of_caption[indices]], strict=True):
        if label >= 0:
            mixed = 0.8 * expected[label] + 0.2 * feature
            expected[label] = mixed / mixed.norm()
    terms(stage, indices)
    stage.after_update()
    torch.testing.assert_close(stage.memories[0].centroids, expected)


def test_prototypes_start_at_the_unit_means_of_unique_images_and_captions() -> None:
    stage, _ = prepared(CONFIG)
    stage.encoder.eval()
    assert stage.labels is not None and stage.memories is not None
    place_of_one_caption = np.unique(stage.data.image_of_caption, return_index=True)[1]
    v, _ = unit_features(stage, place_of_one_caption)
    mean = v[torch.from_numpy(stage.labels.images == 0)].mean(dim=0)
    # The features were extracted in bfloat16.
    torch.testing.assert_close(stage.memories[0].centroids[0], mean / mean.norm(), atol=0.02, rtol=0.0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"instance"} | OWN_TERMS | CROSS_TERMS),
        ({"has_prototypes": False}, {"instance"}),
        ({"has_hybrid_matching": False}, {"instance"} | OWN_TERMS),
        ({"has_outlier_mining": False}, {"instance"} | OWN_TERMS | CROSS_TERMS),
        ({"clusters": "images"}, {"instance"} | OWN_TERMS | CROSS_TERMS),
    ],
)
def test_each_switch_has_its_terms(changes: dict[str, object], expected: set[str]) -> None:
    stage, batches = prepared(replace(CONFIG, **changes))  # type: ignore[arg-type]
    assert terms(stage, batches[0]).keys() == expected


def test_the_baseline_and_the_warm_up_are_plain_info_nce() -> None:
    warm_up, batches = prepared(CONFIG, epoch=0)
    baseline, same_batches = prepared(info_nce(CONFIG), epoch=3)
    assert np.array_equal(batches[0], same_batches[0])
    assert warm_up.labels is None is baseline.labels
    assert terms(warm_up, batches[0]) == terms(baseline, batches[0])
    assert warm_up.figures() == {}


def test_only_hybrid_matching_knows_positives_of_other_pairs() -> None:
    plain, batches = prepared(replace(CONFIG, has_hybrid_matching=False))
    baseline, _ = prepared(info_nce(CONFIG))
    hybrid, _ = prepared(replace(CONFIG, has_prototypes=False))
    instance = [terms(stage, batches[0])["instance"] for stage in (plain, baseline, hybrid)]
    assert instance[0] == instance[1] != instance[2]


def two_people(outlier_is_image: bool) -> tuple[F32, F32]:
    """Unit features of 14 images and captions, equal places are pairs; the last image, or caption, lies apart."""
    rng = np.random.default_rng(1)
    images, texts = (np.repeat(np.eye(8)[[0, 1]], 7, axis=0) + rng.normal(0, 0.02, (14, 8)) for _ in range(2))
    (images if outlier_is_image else texts)[13] = np.eye(8)[5] + 0.1 * np.eye(8)[1]
    images, texts = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts))
    return images.astype(np.float32), texts.astype(np.float32)


@pytest.mark.parametrize("is_image", [True, False])
def test_an_outlier_gets_its_label_through_the_cluster_of_its_partner(is_image: bool) -> None:
    images, texts = two_people(is_image)
    # Captions in reverse order, so that a place is not mistaken for a partner's.
    texts, image_of_caption = texts[::-1].copy(), np.arange(14, dtype=np.int64)[::-1].copy()
    without = pseudo_labels(images, texts, image_of_caption, replace(CONFIG, has_outlier_mining=False))
    mined = pseudo_labels(images, texts, image_of_caption, CONFIG)

    def side(labels: PseudoLabels) -> list[int]:
        return labels.images.tolist() if is_image else labels.captions[::-1].tolist()

    first, second = side(without)[0], side(without)[7]
    assert first != second
    assert side(without) == [first] * 7 + [second] * 6 + [-1]
    assert side(mined) == [first] * 7 + [second] * 7


def test_image_clusters_serve_the_captions_too() -> None:
    images, texts = two_people(True)
    image_of_caption = np.repeat(np.arange(14), 2)[::-1].astype(np.int64)
    config = replace(CONFIG, clusters="images")
    labels = pseudo_labels(images, np.repeat(texts, 2, axis=0)[::-1], image_of_caption, config)
    assert labels.images[13] == -1  # nothing is mined
    assert np.array_equal(labels.captions, labels.images[image_of_caption])


def test_without_a_cluster_only_the_instances_are_learnt_from() -> None:
    stage, batches = prepared(replace(CONFIG, least_samples=1000))
    assert terms(stage, batches[0]).keys() == {"instance"}
    stage.after_update()
    assert stage.figures() == {
        "image_clusters": 0, "text_clusters": 0, "image_outlier_share": 1, "text_outlier_share": 1,
    }  # fmt: skip


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_only_words_are_masked(seed: int, share: float) -> None:
    for token_ids, mask_token in (
        (VOCABULARY.encode(["a man in a red shirt", "a person", ""], CONTEXT_LENGTH), UNKNOWN),
        (torch.tensor([[49406, 320, 786, 530, 320, 736, 2523, 49407, 0, 0]]), CLIP_MASK_TOKEN),
    ):
        masked = mask_words(token_ids, share, mask_token, np.random.default_rng(seed))
        is_special = (token_ids == PAD) | (token_ids == START) | (token_ids == token_ids.max()) | (token_ids == 49406)
        assert torch.equal(masked[is_special], token_ids[is_special])
        changed = masked != token_ids
        assert (masked[changed] == mask_token).all()
        # The tower reads the feature at the highest number, which must stay the end mark.
        assert torch.equal(masked.argmax(dim=1), token_ids.argmax(dim=1))


def test_the_share_of_masked_words_is_as_asked() -> None:
    token_ids = VOCABULARY.encode(["a man in a red shirt"] * 500, CONTEXT_LENGTH)
    masked = mask_words(token_ids, 0.15, UNKNOWN, np.random.default_rng(0))
    assert (masked == UNKNOWN).float().sum().item() / (500 * 6) == pytest.approx(0.15, abs=0.02)


def test_masking_changes_what_is_learnt_and_never_what_is_clustered() -> None:
    masked, batches = prepared(replace(CONFIG, mask_token=UNKNOWN, mask_share=0.9))
    plain, _ = prepared(CONFIG)
    assert masked.labels is not None and plain.labels is not None
    assert np.array_equal(masked.labels.captions, plain.labels.captions)
    assert terms(masked, batches[0])["instance"] != terms(plain, batches[0])["instance"]


def test_the_published_mask_token_lies_below_the_marks_of_clips_tokenizer() -> None:
    token_ids = sub_word_tokenizer(77)(["a man in a red shirt"])
    assert VIT_B16.mask_token == token_ids[0, 0] - 1 == token_ids.max() - 2


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"batch": 1}, "batch is 1"),
        ({"batch": 49}, "48 captions"),
        ({"temperature": 0.0}, "temperature 0"),
        ({"momentum": 1.5}, "momentum 1.5"),
        ({"epsilon": 1.0}, "epsilon 1"),
        ({"warm_up_epochs": 4}, "warm_up_epochs is 4 of 4"),
        ({"has_prototypes": False, "has_hybrid_matching": False}, "nothing uses their labels"),
        ({"mask_token": 10_000}, "mask_token is 10000"),
        ({"mask_token": UNKNOWN, "mask_share": 0.0}, "mask_share 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        method_for(replace(CONFIG, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("image_of_caption", "text"), [([0] * 47, "47 places"), ([24] * 48, "images 24 to 24")])
def test_captions_without_their_image_are_refused(image_of_caption: list[int], text: str) -> None:
    data = people()
    broken = PairSet(data.images, data.captions, np.array(image_of_caption, np.int64))
    with pytest.raises(ConfigurationError, match=text):
        method_for(CONFIG, broken)
