"""Each loss equals a naive loop, and its gradient the numerical one."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from reid_models.losses.contrastive import image_text_loss
from reid_models.losses.metric import batch_hard_triplet_loss, identity_loss

seeds = st.integers(0, 2**31)


def random_features(seed: int, count: int, width: int = 5) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive_triplet(features: list[list[float]], labels: list[int], margin: float) -> float:
    total = 0.0
    for anchor, label in zip(features, labels, strict=True):
        positives, negatives = [0.0], []
        for other, other_label in zip(features, labels, strict=True):
            (positives if label == other_label else negatives).append(math.dist(anchor, other))
        total += max(0.0, max(positives) - min(negatives) + margin)
    return total / len(features)


def naive_one_way(
    rows: list[list[float]], columns: list[list[float]], positive: list[list[bool]], scale: float
) -> float:
    parts = []
    for row, row_positive in zip(rows, positive, strict=True):
        logits = [scale * sum(a * b for a, b in zip(row, column, strict=True)) for column in columns]
        denominator = math.log(sum(math.exp(logit) for logit in logits))
        right = [logit - denominator for logit, is_right in zip(logits, row_positive, strict=True) if is_right]
        if right:
            parts.append(-sum(right) / len(right))
    return sum(parts) / max(1, len(parts))


@settings(max_examples=25, deadline=None)
@given(seeds, st.lists(st.integers(0, 3), min_size=3, max_size=9).filter(lambda labels: len(set(labels)) > 1))
def test_triplet_loss_equals_a_naive_loop(seed: int, labels: list[int]) -> None:
    features = random_features(seed, len(labels))
    expected = naive_triplet(features.tolist(), labels, 0.3)
    assert math.isclose(batch_hard_triplet_loss(features, torch.tensor(labels), 0.3).item(), expected, abs_tol=1e-9)


@settings(max_examples=25, deadline=None)
@given(seeds, st.lists(st.integers(0, 3), min_size=1, max_size=6), st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_image_text_loss_equals_a_naive_loop(seed: int, image_labels: list[int], text_labels: list[int]) -> None:
    images = functional.normalize(random_features(seed, len(image_labels)), dim=1)
    texts = functional.normalize(random_features(seed + 1, len(text_labels)), dim=1)
    positive = [[image == text for text in text_labels] for image in image_labels]
    turned = [list(column) for column in zip(*positive, strict=True)]
    forth = naive_one_way(images.tolist(), texts.tolist(), positive, 7.0)
    back = naive_one_way(texts.tolist(), images.tolist(), turned, 7.0)
    loss = image_text_loss(
        images, torch.tensor(image_labels), texts, torch.tensor(text_labels), torch.tensor(7.0, dtype=torch.float64)
    )
    assert math.isclose(loss.item(), (forth + back) / 2, abs_tol=1e-9)


@settings(max_examples=25, deadline=None)
@given(seeds, st.lists(st.integers(0, 4), min_size=1, max_size=6), st.floats(0.0, 0.5))
def test_identity_loss_equals_a_naive_loop(seed: int, labels: list[int], smoothing: float) -> None:
    logits = random_features(seed, len(labels))
    total = 0.0
    for row, label in zip(logits.tolist(), labels, strict=True):
        denominator = math.log(sum(math.exp(value) for value in row))
        for place, value in enumerate(row):
            target = smoothing / len(row) + (1.0 - smoothing) * (place == label)
            total -= target * (value - denominator)
    assert math.isclose(
        identity_loss(logits, torch.tensor(labels), smoothing).item(), total / len(labels), abs_tol=1e-9
    )


def test_gradients_are_the_numerical_ones() -> None:
    labels, texts = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 3])
    features = random_features(3, 5).requires_grad_()
    sentences = random_features(4, 4).requires_grad_()
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: batch_hard_triplet_loss(x, labels), features)
    assert torch.autograd.gradcheck(lambda x: identity_loss(x, labels), features)
    assert torch.autograd.gradcheck(
        lambda x, y, s: image_text_loss(x, labels, y, texts, s), (features, sentences, scale)
    )


def test_a_batch_without_any_pair_costs_nothing_and_has_a_finite_gradient() -> None:
    images = random_features(5, 2).requires_grad_()
    loss = image_text_loss(images, torch.tensor([0, 1]), random_features(6, 2), torch.tensor([2, 3]), torch.tensor(1.0))
    loss.backward()
    assert loss.item() == 0.0
    assert images.grad is not None and torch.isfinite(images.grad).all()


def test_identical_images_of_one_person_have_a_finite_gradient() -> None:
    features = torch.ones(4, 3, requires_grad=True)
    batch_hard_triplet_loss(features, torch.tensor([0, 0, 1, 1])).backward()
    assert features.grad is not None and torch.isfinite(features.grad).all()
