"""Each appearance loss equals a naive loop, and its gradient the numerical one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_models.losses.metric import batch_hard_triplet_loss, identity_loss, memory_triplet_loss
from tests.reid_models.losses.naive import Row, mean, random_rows, softmax_cost, unit_rows

seeds = st.integers(0, 2**31)
margins = st.sampled_from([0.3, 2.0, None])


def naive_hinge(gap: float, margin: float | None) -> float:
    return math.log(1.0 + math.exp(gap)) if margin is None else max(0.0, gap + margin)


def naive_triplet(features: Sequence[Row], labels: list[int], margin: float | None) -> float:
    costs = []
    for anchor, label in zip(features, labels, strict=True):
        positives, negatives = [0.0], []
        for other, other_label in zip(features, labels, strict=True):
            if other_label >= 0:
                (positives if label == other_label else negatives).append(math.dist(anchor, other))
        if label >= 0 and negatives:
            costs.append(naive_hinge(max(positives) - min(negatives), margin))
    return mean(costs)


def naive_memory_triplet(
    features: Sequence[Row], labels: list[int], centroids: Sequence[Row], margin: float | None
) -> float:
    costs = []
    for feature, label in zip(features, labels, strict=True):
        distances = [math.dist(feature, centroid) for centroid in centroids]
        others = [distance for place, distance in enumerate(distances) if place != label]
        if label >= 0 and others:
            costs.append(naive_hinge(distances[label] - min(others), margin))
    return mean(costs)


@settings(max_examples=40, deadline=None)
@given(seeds, st.lists(st.integers(-1, 3), min_size=1, max_size=9), margins)
def test_triplet_loss_equals_a_naive_loop(seed: int, labels: list[int], margin: float | None) -> None:
    features = random_rows(seed, len(labels), 5)
    expected = naive_triplet(features.tolist(), labels, margin)
    assert math.isclose(batch_hard_triplet_loss(features, torch.tensor(labels), margin).item(), expected, abs_tol=1e-9)


def test_triplet_loss_of_a_whole_batch_equals_a_naive_loop() -> None:
    # Beyond 25 rows torch computes distances by a matrix product; the chosen pairs have to stay the same.
    features, labels = random_rows(8, 64, 32), torch.arange(16).repeat_interleave(4)
    expected = naive_triplet(features.tolist(), labels.tolist(), 0.3)
    assert math.isclose(batch_hard_triplet_loss(features, labels, 0.3).item(), expected, abs_tol=1e-9)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 4), st.data(), margins)
def test_memory_triplet_loss_equals_a_naive_loop(
    seed: int, classes: int, data: st.DataObject, margin: float | None
) -> None:
    labels = data.draw(st.lists(st.integers(-1, classes - 1), min_size=1, max_size=7))
    features, centroids = unit_rows(seed, len(labels), 5), unit_rows(seed + 1, classes, 5)
    expected = naive_memory_triplet(features.tolist(), labels, centroids.tolist(), margin)
    loss = memory_triplet_loss(features, torch.tensor(labels), centroids, margin)
    assert math.isclose(loss.item(), expected, abs_tol=1e-9)


@settings(max_examples=25, deadline=None)
@given(seeds, st.lists(st.integers(0, 4), min_size=1, max_size=6), st.floats(0.0, 0.5))
def test_identity_loss_equals_a_naive_loop(seed: int, labels: list[int], smoothing: float) -> None:
    logits = random_rows(seed, len(labels), 5)
    costs = []
    for row, label in zip(logits.tolist(), labels, strict=True):
        targets = [smoothing / len(row) + (1.0 - smoothing) * (place == label) for place in range(len(row))]
        costs.append(sum(target * softmax_cost(logit, row) for target, logit in zip(targets, row, strict=True)))
    assert math.isclose(identity_loss(logits, torch.tensor(labels), smoothing).item(), mean(costs), abs_tol=1e-9)


@pytest.mark.parametrize("margin", [0.3, None])
def test_gradients_are_the_numerical_ones(margin: float | None) -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, -1])
    features = random_rows(3, 6, 5).requires_grad_()
    centroids = unit_rows(4, 3, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: identity_loss(x, labels.abs()), features)
    assert torch.autograd.gradcheck(lambda x: batch_hard_triplet_loss(x, labels, margin), features)
    assert torch.autograd.gradcheck(lambda x, u: memory_triplet_loss(x, labels, u, margin), (features, centroids))


@pytest.mark.parametrize("margin", [0.3, None])
def test_identical_images_have_a_finite_gradient(margin: float | None) -> None:
    features = torch.ones(4, 3, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1])
    loss = batch_hard_triplet_loss(features, labels, margin)
    (loss + memory_triplet_loss(features, labels, torch.ones(2, 3), margin)).backward()
    assert loss.item() == pytest.approx(math.log(2.0) if margin is None else margin)
    assert features.grad is not None and torch.isfinite(features.grad).all()


@pytest.mark.parametrize("labels", [[0, 0, 0], [-1, -1, -1], [1, -1, -1]])
def test_a_batch_without_a_negative_costs_nothing_and_has_a_finite_gradient(labels: list[int]) -> None:
    features = random_rows(7, 3, 4).requires_grad_()
    loss = batch_hard_triplet_loss(features, torch.tensor(labels), None)
    loss = loss + memory_triplet_loss(features, torch.tensor(labels).clamp(max=0), unit_rows(1, 1, 4), None)
    loss.backward()
    assert loss.item() == 0.0
    assert features.grad is not None and (features.grad == 0.0).all()
