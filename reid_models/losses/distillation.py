"""Losses by which a student learns a teacher's view; pure functions of tensors. Rows of both are unit vectors."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def feature_distillation_loss(predicted: Tensor, taught: Tensor) -> Tensor:
    """1 - cosine between the student's prediction (B, D) of the teacher's features and these (B, D), mean over rows."""
    return 1.0 - (predicted * taught).sum(dim=1).mean()


def relation_distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the similarities of all pairs of different rows, by student (B, S) and teacher (B, D).

    The relational form of Park et al. 2019 with cosines instead of distances: the student's own space, of any width,
    takes the teacher's shape.
    """
    count = len(student)
    difference = (student @ student.T - teacher @ teacher.T).square()
    return (difference.sum() - difference.diagonal().sum()) / max(1, count * (count - 1))


def attribute_loss(logits: Tensor, is_true: Tensor, is_known: Tensor) -> Tensor:
    """Binary cross-entropy of coded attributes, mean over what is known. All are (B, A)."""
    costs = functional.binary_cross_entropy_with_logits(logits, is_true.to(logits.dtype), reduction="none")
    return (costs * is_known).sum() / is_known.sum().clamp(min=1)
