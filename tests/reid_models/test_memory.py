"""What memories keep, and how a batch changes it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from reid_models.memory import CentroidMemory, HybridMemory, UpdateRule, class_means

seeds = st.integers(0, 2**31)
labels_of_three = st.lists(st.integers(-1, 2), max_size=12)
rules: Sequence[UpdateRule] = ("mean", "each", "hard")


def unit_rows(seed: int, *shape: int) -> Tensor:
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return functional.normalize(rows, dim=-1)


def unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()


def naive_centroids(
    centroids: Tensor, features: Tensor, labels: list[int], momentum: float, rule: UpdateRule
) -> Tensor:
    updated = centroids.clone()
    for label in range(len(centroids)):
        members = [features[place] for place in range(len(labels)) if labels[place] == label]
        if not members:
            continue
        if rule == "mean":
            teachers = [torch.stack(members).mean(dim=0)]
        elif rule == "each":
            teachers = members
        else:
            teachers = [min(members, key=lambda member: float(member @ centroids[label]))]
        for teacher in teachers:
            updated[label] = unit(momentum * updated[label] + (1 - momentum) * teacher)
    return updated


@settings(max_examples=60, deadline=None)
@given(seeds, labels_of_three, st.floats(0.0, 0.99), st.sampled_from(rules))
def test_an_update_equals_a_naive_loop(seed: int, labels: list[int], momentum: float, rule: UpdateRule) -> None:
    centroids, features = unit_rows(seed, 3, 5), unit_rows(seed + 1, len(labels), 5)
    memory = CentroidMemory(centroids, momentum)
    memory.update(features, torch.tensor(labels, dtype=torch.int64), rule)
    torch.testing.assert_close(memory.centroids, naive_centroids(centroids, features, labels, momentum, rule))


@pytest.mark.parametrize("rule", rules)
def test_momentum_is_the_weight_of_the_old_value(rule: UpdateRule) -> None:
    old, new = torch.eye(2, dtype=torch.float64)
    for momentum, nearest in ((0.1, new), (0.9, old)):
        memory = CentroidMemory(old[None], momentum)
        memory.update(new[None], torch.tensor([0]), rule)
        torch.testing.assert_close(memory.centroids[0], unit(momentum * old + (1 - momentum) * new))
        assert memory.centroids[0] @ nearest > 0.99


def test_the_hard_rule_learns_from_the_feature_least_similar_to_its_centroid() -> None:
    centroid = torch.tensor([[1.0, 0.0]])
    near, far = torch.tensor([0.8, 0.6]), torch.tensor([-0.6, 0.8])
    for order in ([near, far], [far, near]):
        memory = CentroidMemory(centroid, 0.1)
        memory.update(torch.stack(order), torch.tensor([0, 0]), "hard")
        torch.testing.assert_close(memory.centroids[0], unit(0.1 * centroid[0] + 0.9 * far))


def test_of_equally_hard_features_the_first_is_taken() -> None:
    upwards, downwards = torch.tensor([0.6, 0.8]), torch.tensor([0.6, -0.8])
    memory = CentroidMemory(torch.tensor([[1.0, 0.0]]), 0.0)
    memory.update(torch.stack([downwards, upwards]), torch.tensor([0, 0]), "hard")
    torch.testing.assert_close(memory.centroids[0], downwards)


def test_each_goes_through_a_class_in_the_order_of_the_batch() -> None:
    centroids, features = unit_rows(1, 2, 4), unit_rows(2, 5, 4)
    labels = torch.tensor([1, 0, 1, 1, 0])
    whole, one_by_one = CentroidMemory(centroids, 0.3), CentroidMemory(centroids, 0.3)
    whole.update(features, labels, "each")
    for feature, label in zip(features, labels, strict=True):
        one_by_one.update(feature[None], label[None], "each")
    torch.testing.assert_close(whole.centroids, one_by_one.centroids)
    turned = CentroidMemory(centroids, 0.3)
    turned.update(features.flip(0), labels.flip(0), "each")
    assert not torch.allclose(whole.centroids, turned.centroids)


@settings(max_examples=60, deadline=None)
@given(seeds, labels_of_three, st.integers(1, 5), st.sampled_from(rules))
def test_the_features_of_a_class_fill_its_first_slots(
    seed: int, labels: list[int], count: int, rule: UpdateRule
) -> None:
    slots, features = unit_rows(seed, 3, count, 5), unit_rows(seed + 1, len(labels), 5)
    memory = HybridMemory(unit_rows(seed + 2, 3, 5), slots, 0.1)
    memory.update(features, torch.tensor(labels, dtype=torch.int64), rule)
    expected = slots.clone()
    for label in range(3):
        members = [features[place] for place in range(len(labels)) if labels[place] == label]
        for slot, member in enumerate(members[:count]):
            expected[label, slot] = member
    torch.testing.assert_close(memory.slots, expected)


def test_a_hybrid_memory_updates_its_centroids_as_a_centroid_memory_does() -> None:
    centroids, features, labels = unit_rows(3, 3, 4), unit_rows(4, 6, 4), torch.tensor([0, 0, 2, -1, 2, 2])
    hybrid, plain = HybridMemory(centroids, unit_rows(5, 3, 2, 4), 0.1), CentroidMemory(centroids, 0.1)
    for rule in rules:
        hybrid.update(features, labels, rule)
        plain.update(features, labels, rule)
        assert torch.equal(hybrid.centroids, plain.centroids)


@pytest.mark.parametrize("rule", rules)
def test_everything_stays_normalised(rule: UpdateRule) -> None:
    memory = HybridMemory(3 * unit_rows(6, 3, 5), 7 * unit_rows(7, 3, 4, 5), 0.1)
    memory.update(5 * unit_rows(8, 6, 5), torch.tensor([0, 1, 2, 0, 0, -1]), rule)
    torch.testing.assert_close(memory.centroids.norm(dim=1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(memory.slots.norm(dim=2), torch.ones(3, 4, dtype=torch.float64))


@pytest.mark.parametrize("rule", rules)
def test_an_update_takes_features_that_carry_a_gradient_and_leaves_none(rule: UpdateRule) -> None:
    layer = torch.nn.Linear(4, 4)
    memory = HybridMemory(layer(torch.eye(4)), layer(torch.eye(4))[:, None], 0.1)
    memory.update(layer(torch.eye(4)).to(torch.bfloat16), torch.tensor([0, 1, 1, 3]), rule)
    for kept in (memory.centroids, memory.slots):
        assert not kept.requires_grad
        assert kept.dtype == torch.float32
    assert list(memory.parameters()) == []


def test_a_loss_that_used_the_memory_before_its_update_keeps_its_gradient() -> None:
    features = unit_rows(9, 2, 3).requires_grad_()
    memory = CentroidMemory(unit_rows(10, 2, 3), 0.1)
    before = memory.centroids.clone()
    loss = (features @ memory.centroids.T).diagonal().sum()
    loss.backward()
    memory.update(features, torch.tensor([0, 1]))
    assert features.grad is not None
    torch.testing.assert_close(features.grad, before)


def test_the_state_goes_through_a_dictionary_unchanged() -> None:
    memory = HybridMemory(unit_rows(11, 3, 5), unit_rows(12, 3, 4, 5), 0.1)
    memory.update(unit_rows(13, 3, 5), torch.tensor([0, 1, 1]))
    twin = HybridMemory(torch.zeros(3, 5, dtype=torch.float64), torch.zeros(3, 4, 5, dtype=torch.float64), 0.1)
    twin.load_state_dict(memory.state_dict())
    for _ in range(2):
        assert torch.equal(twin.centroids, memory.centroids)
        assert torch.equal(twin.slots, memory.slots)
        memory.update(unit_rows(14, 2, 5), torch.tensor([2, 1]))
        twin.update(unit_rows(14, 2, 5), torch.tensor([2, 1]))


@pytest.mark.parametrize("rule", rules)
def test_a_memory_without_classes_takes_outliers(rule: UpdateRule) -> None:
    memory = CentroidMemory(torch.zeros(0, 4), 0.1)
    memory.update(torch.ones(2, 4), torch.tensor([-1, -1]), rule)
    assert memory.centroids.shape == (0, 4)


@settings(max_examples=40, deadline=None)
@given(seeds, labels_of_three)
def test_class_means_equal_a_naive_loop(seed: int, labels: list[int]) -> None:
    features = unit_rows(seed, len(labels), 5)
    means = class_means(features, torch.tensor(labels, dtype=torch.int64), 3)
    for label in range(3):
        members = [features[place] for place in range(len(labels)) if labels[place] == label]
        expected = unit(torch.stack(members).mean(dim=0)) if members else torch.zeros(5, dtype=torch.float64)
        torch.testing.assert_close(means[label], expected)
