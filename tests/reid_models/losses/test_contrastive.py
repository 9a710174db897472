"""Each image-text loss equals a naive loop, and its gradient the numerical one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reid_models.losses.contrastive import (
    distribution_matching_loss,
    image_text_loss,
    info_nce_loss,
    prompt_contrastive_loss,
    truth_matching_loss,
)
from tests.reid_models.losses.naive import Row, dot, mean, random_rows, softmax_cost, unit_rows

seeds = st.integers(0, 2**31)
Matrix = Sequence[Sequence[bool]]


def naive_one_way(rows: Sequence[Row], columns: Sequence[Row], positive: Matrix, scale: float) -> float:
    costs = []
    for row, is_positive in zip(rows, positive, strict=True):
        logits = [scale * dot(row, column) for column in columns]
        right = [softmax_cost(logit, logits) for logit, is_right in zip(logits, is_positive, strict=True) if is_right]
        if right:
            costs.append(mean(right))
    return mean(costs)


def naive_divergence(rows: Sequence[Row], columns: Sequence[Row], is_match: Matrix, temperature: float) -> float:
    """KL(p || q) as IRRA writes it, with 1e-8 inside the logarithm of q."""
    costs = []
    for row, matches in zip(rows, is_match, strict=True):
        logits = [dot(row, column) / temperature for column in columns]
        if any(matches):
            cost = 0.0
            for logit, matching in zip(logits, matches, strict=True):
                p = math.exp(logit) / sum(math.exp(other) for other in logits)
                q = matching / sum(matches)
                cost += p * math.log(p / (q + 1e-8))
            costs.append(cost)
    return mean(costs)


def turned(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


@settings(max_examples=25, deadline=None)
@given(seeds, st.lists(st.integers(0, 3), min_size=1, max_size=6), st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_image_text_loss_equals_a_naive_loop(seed: int, image_labels: list[int], text_labels: list[int]) -> None:
    images, texts = unit_rows(seed, len(image_labels), 5), unit_rows(seed + 1, len(text_labels), 5)
    positive = [[image == text for text in text_labels] for image in image_labels]
    forth = naive_one_way(images.tolist(), texts.tolist(), positive, 7.0)
    back = naive_one_way(texts.tolist(), images.tolist(), turned(positive), 7.0)
    loss = image_text_loss(
        images, torch.tensor(image_labels), texts, torch.tensor(text_labels), torch.tensor(7.0, dtype=torch.float64)
    )
    assert math.isclose(loss.item(), (forth + back) / 2, abs_tol=1e-9)


@settings(max_examples=25, deadline=None)
@given(seeds, st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=6))
def test_truth_matching_loss_equals_a_naive_loop(seed: int, is_true: list[list[bool]]) -> None:
    images, texts = unit_rows(seed, len(is_true), 5), unit_rows(seed + 1, 3, 5)
    forth = naive_one_way(images.tolist(), texts.tolist(), is_true, 7.0)
    back = naive_one_way(texts.tolist(), images.tolist(), turned(is_true), 7.0)
    loss = truth_matching_loss(images, texts, torch.tensor(is_true), torch.tensor(7.0, dtype=torch.float64))
    assert math.isclose(loss.item(), (forth + back) / 2, abs_tol=1e-9)


@settings(max_examples=25, deadline=None)
@given(seeds, st.lists(st.integers(-1, 3), min_size=1, max_size=8))
def test_prompt_contrastive_loss_equals_a_naive_loop_over_the_labelled(seed: int, labels: list[int]) -> None:
    images, texts = random_rows(seed, len(labels), 5), random_rows(seed + 1, len(labels), 5)
    kept = [place for place, label in enumerate(labels) if label >= 0]
    v, t = ([features.tolist()[place] for place in kept] for features in (images, texts))
    same = [[labels[a] == labels[b] for b in kept] for a in kept]
    expected = naive_one_way(v, t, same, 1.0) + naive_one_way(t, v, same, 1.0)
    assert math.isclose(
        prompt_contrastive_loss(images, texts, torch.tensor(labels)).item(), expected, abs_tol=1e-9, rel_tol=1e-9
    )


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 7), st.floats(0.02, 1.0))
def test_info_nce_equals_a_naive_loop(seed: int, count: int, temperature: float) -> None:
    images, texts = unit_rows(seed, count, 5), unit_rows(seed + 1, count, 5)
    own = [[row == column for column in range(count)] for row in range(count)]
    v, t = images.tolist(), texts.tolist()
    expected = (naive_one_way(v, t, own, 1 / temperature) + naive_one_way(t, v, own, 1 / temperature)) / 2
    assert math.isclose(info_nce_loss(images, texts, temperature).item(), expected, abs_tol=1e-9, rel_tol=1e-9)


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 6), st.data())
def test_distribution_matching_equals_a_naive_loop_in_both_directions(
    seed: int, count: int, data: st.DataObject
) -> None:
    row_of_matches = st.lists(st.booleans(), min_size=count, max_size=count)
    is_match = data.draw(st.lists(row_of_matches, min_size=count, max_size=count))  # not symmetric
    images, texts = unit_rows(seed, count, 5), unit_rows(seed + 1, count, 5)
    v, t = images.tolist(), texts.tolist()
    expected = naive_divergence(v, t, is_match, 0.1) + naive_divergence(t, v, turned(is_match), 0.1)
    loss = distribution_matching_loss(images, texts, torch.tensor(is_match), 0.1)
    assert math.isclose(loss.item(), expected, abs_tol=1e-8, rel_tol=1e-9)


def test_epsilon_stands_inside_the_logarithm_of_the_target() -> None:
    # Two equal similarities, one match: p = (1/2, 1/2), q = (1, 0).
    alike = torch.ones(2, 1, dtype=torch.float64)
    expected = 2 * (0.5 * math.log(0.5 / (1.0 + 1e-4)) + 0.5 * math.log(0.5 / 1e-4))
    loss = distribution_matching_loss(alike, alike, torch.eye(2, dtype=torch.bool), 0.02, epsilon=1e-4)
    assert math.isclose(loss.item(), expected)


def test_gradients_are_the_numerical_ones() -> None:
    labels, other_labels = torch.tensor([0, 0, 1, 2, -1]), torch.tensor([0, 1, 1, 3, 4])
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    images, texts = random_rows(3, 5, 4).requires_grad_(), random_rows(4, 5, 4).requires_grad_()
    is_match = torch.eye(5, dtype=torch.bool)
    is_match[0, 1] = is_match[1, 0] = True
    losses: list[Callable[[Tensor, Tensor, Tensor], Tensor]] = [
        lambda v, t, s: image_text_loss(v, labels, t, other_labels, s),
        lambda v, t, s: prompt_contrastive_loss(v, t, labels),
        lambda v, t, s: info_nce_loss(v, t, 1 / s),
        lambda v, t, s: distribution_matching_loss(v, t, is_match, 1 / s),
    ]
    for loss in losses:
        assert torch.autograd.gradcheck(loss, (images, texts, scale))


@pytest.mark.parametrize("temperature", [0.02, 0.001])
def test_a_confident_batch_keeps_finite_losses_and_gradients_in_single_precision(temperature: float) -> None:
    images = torch.eye(4, requires_grad=True)
    wrong = torch.eye(4).roll(1, dims=0)
    own = torch.eye(4, dtype=torch.bool)
    loss = info_nce_loss(images, wrong, temperature) + distribution_matching_loss(images, wrong, own, temperature)
    loss.backward()
    assert images.grad is not None and torch.isfinite(images.grad).all()
    assert torch.isfinite(loss)


def test_a_batch_without_any_pair_costs_nothing_and_has_a_finite_gradient() -> None:
    images = random_rows(5, 2, 5).requires_grad_()
    texts = random_rows(6, 2, 5)
    loss = image_text_loss(images, torch.tensor([0, 1]), texts, torch.tensor([2, 3]), torch.tensor(1.0))
    loss = loss + prompt_contrastive_loss(images, texts, torch.tensor([-1, -1]))
    loss = loss + distribution_matching_loss(images, texts, torch.zeros(2, 2, dtype=torch.bool), 0.02)
    loss.backward()
    assert loss.item() == 0.0
    assert images.grad is not None and torch.isfinite(images.grad).all()
