"""Each loss against a memory equals a naive loop, and its gradient the numerical one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_models.losses.prototypes import hard_instance_loss, icdl_loss, memory_loss
from tests.reid_models.losses.naive import Row, dot, mean, random_rows, softmax_cost, unit_rows

seeds = st.integers(0, 2**31)
labels_of_four = st.lists(st.integers(-2, 3), min_size=1, max_size=7)


def naive_memory_loss(
    features: Sequence[Row], labels: list[int], centroids: Sequence[Row], temperature: float
) -> float:
    costs = []
    for feature, label in zip(features, labels, strict=True):
        if label >= 0:
            logits = [dot(feature, centroid) / temperature for centroid in centroids]
            costs.append(softmax_cost(logits[label], logits))
    return mean(costs)


def naive_hard_instance_loss(
    features: Sequence[Row], labels: list[int], slots: Sequence[Sequence[Row]], temperature: float
) -> float:
    costs = []
    for feature, label in zip(features, labels, strict=True):
        if label >= 0:
            logits = []
            for place, instances in enumerate(slots):
                similarities = [dot(feature, instance) for instance in instances]
                logits.append((min(similarities) if place == label else max(similarities)) / temperature)
            costs.append(softmax_cost(logits[label], logits))
    return mean(costs)


@settings(max_examples=40, deadline=None)
@given(seeds, labels_of_four)
def test_memory_loss_equals_a_naive_loop_over_the_labelled(seed: int, labels: list[int]) -> None:
    features, centroids = unit_rows(seed, len(labels), 5), unit_rows(seed + 1, 4, 5)
    expected = naive_memory_loss(features.tolist(), labels, centroids.tolist(), 0.05)
    assert math.isclose(memory_loss(features, torch.tensor(labels), centroids, 0.05).item(), expected, abs_tol=1e-9)


@settings(max_examples=40, deadline=None)
@given(seeds, labels_of_four, st.integers(1, 3))
def test_hard_instance_loss_equals_a_naive_loop_over_the_labelled(seed: int, labels: list[int], count: int) -> None:
    features, slots = unit_rows(seed, len(labels), 5), unit_rows(seed + 1, 4, count, 5)
    expected = naive_hard_instance_loss(features.tolist(), labels, slots.tolist(), 0.05)
    assert math.isclose(hard_instance_loss(features, torch.tensor(labels), slots, 0.05).item(), expected, abs_tol=1e-9)


def test_the_least_similar_own_instance_stands_against_the_most_similar_others() -> None:
    feature = torch.tensor([[1.0, 0.0]])
    by_cosine = {0: (0.9, 0.5), 1: (0.1, -0.3), 2: (-0.2, 0.7)}
    slots = torch.tensor([[(cosine, math.sqrt(1 - cosine**2)) for cosine in row] for row in by_cosine.values()])
    loss = hard_instance_loss(feature, torch.tensor([0]), slots, 0.1)
    assert math.isclose(loss.item(), softmax_cost(5.0, [5.0, 1.0, 7.0]), rel_tol=1e-6)


def test_icdl_shares_its_weight_between_centroids_and_instances() -> None:
    features, labels = unit_rows(1, 5, 4), torch.tensor([0, 1, 2, -1, 0])
    centroids, slots = unit_rows(2, 3, 4), unit_rows(3, 3, 6, 4)
    for share in (0.0, 0.6, 1.0):
        by_centroid = naive_memory_loss(features.tolist(), labels.tolist(), centroids.tolist(), 0.05)
        by_instance = naive_hard_instance_loss(features.tolist(), labels.tolist(), slots.tolist(), 0.05)
        loss = icdl_loss(features, labels, centroids, slots, share, 0.05)
        assert math.isclose(loss.item(), share * by_centroid + (1 - share) * by_instance, rel_tol=1e-9)


def test_gradients_are_the_numerical_ones() -> None:
    labels = torch.tensor([0, 2, 1, -1])
    features = random_rows(3, 4, 5).requires_grad_()
    centroids, slots = unit_rows(4, 3, 5).requires_grad_(), unit_rows(5, 3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda f, u, s: icdl_loss(f, labels, u, s, 0.6, 0.5), (features, centroids, slots))


def test_instances_drawn_twice_count_once() -> None:
    features = unit_rows(6, 3, 5).requires_grad_()
    labels, slots = torch.tensor([0, 1, 1]), unit_rows(7, 2, 3, 5)
    loss = hard_instance_loss(features, labels, slots, 0.05)
    repeated = hard_instance_loss(features, labels, slots.repeat(1, 4, 1), 0.05)
    (gradient,), (repeated_gradient,) = (torch.autograd.grad(cost, features) for cost in (loss, repeated))
    torch.testing.assert_close(loss, repeated)
    torch.testing.assert_close(gradient, repeated_gradient)


def test_a_batch_of_outliers_costs_nothing_and_has_no_gradient() -> None:
    features = unit_rows(8, 2, 5).requires_grad_()
    loss = icdl_loss(features, torch.tensor([-1, -1]), unit_rows(9, 3, 5), unit_rows(10, 3, 2, 5), 0.5, 0.05)
    loss.backward()
    assert loss.item() == 0.0
    assert features.grad is not None and (features.grad == 0.0).all()


def test_a_small_temperature_keeps_single_precision_finite() -> None:
    features = torch.eye(3).requires_grad_()
    wrong = torch.eye(3).roll(1, dims=0)
    loss = icdl_loss(features, torch.arange(3), wrong, wrong[:, None], 0.5, 0.001)
    loss.backward()
    assert math.isclose(loss.item(), 1000.0, rel_tol=1e-5)
    assert features.grad is not None and torch.isfinite(features.grad).all()
