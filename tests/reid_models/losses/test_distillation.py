"""Each teacher's loss equals a naive loop, and its gradient the numerical one."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reid_models.losses.distillation import attribute_loss, feature_distillation_loss, relation_distillation_loss
from tests.reid_models.losses.naive import dot, mean, random_rows, unit_rows

seeds = st.integers(0, 2**31)
counts = st.integers(1, 6)


@settings(max_examples=25, deadline=None)
@given(seeds, counts)
def test_the_feature_loss_equals_a_naive_loop(seed: int, count: int) -> None:
    predicted, taught = unit_rows(seed, count, 4), unit_rows(seed + 1, count, 4)
    expected = mean([1.0 - dot(a, b) for a, b in zip(predicted.tolist(), taught.tolist(), strict=True)])
    assert math.isclose(feature_distillation_loss(predicted, taught).item(), expected, abs_tol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(2, 6))
def test_the_relation_loss_equals_a_naive_loop_over_pairs(seed: int, count: int) -> None:
    student, teacher = unit_rows(seed, count, 3), unit_rows(seed + 1, count, 5)
    own, wanted = student.tolist(), teacher.tolist()
    squares = [
        (dot(own[i], own[j]) - dot(wanted[i], wanted[j])) ** 2 for i in range(count) for j in range(count) if i != j
    ]
    assert math.isclose(relation_distillation_loss(student, teacher).item(), mean(squares), abs_tol=1e-12)


def test_one_row_alone_has_no_relations() -> None:
    assert relation_distillation_loss(unit_rows(0, 1, 3), unit_rows(1, 1, 3)).item() == pytest.approx(0.0, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(seeds, counts, st.data())
def test_the_attribute_loss_equals_a_naive_loop_over_what_is_known(seed: int, count: int, data: st.DataObject) -> None:
    logits = random_rows(seed, count, 3)
    flags = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=count, max_size=count)
    is_true, is_known = data.draw(flags), data.draw(flags)
    costs = []
    for row, truths, knowns in zip(logits.tolist(), is_true, is_known, strict=True):
        for logit, holds, known in zip(row, truths, knowns, strict=True):
            chance = 1.0 / (1.0 + math.exp(-logit))
            if known:
                costs.append(-math.log(chance if holds else 1.0 - chance))
    found = attribute_loss(logits, torch.tensor(is_true), torch.tensor(is_known)).item()
    assert math.isclose(found, mean(costs) if costs else 0.0, abs_tol=1e-9)


@pytest.mark.parametrize("loss", [feature_distillation_loss, relation_distillation_loss])
def test_gradients_are_the_numerical_ones(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    student = random_rows(3, 4, 3).requires_grad_()
    teacher = unit_rows(4, 4, 3)
    assert torch.autograd.gradcheck(lambda rows: loss(rows, teacher), student)
