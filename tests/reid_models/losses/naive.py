"""Plain Python numbers, from which the tests write each loss anew as its equation reads."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

Row = Sequence[float]


def random_rows(seed: int, *shape: int) -> Tensor:
    """float64, so that gradients can be compared with numerical ones."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit_rows(seed: int, *shape: int) -> Tensor:
    return functional.normalize(random_rows(seed, *shape), dim=-1)


def dot(a: Row, b: Row) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: Row, b: Row) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def mean(values: Sequence[float]) -> float:
    """0 where a loss leaves out every row."""
    return sum(values) / len(values) if values else 0.0


def softmax_cost(chosen: float, logits: Sequence[float]) -> float:
    """-log of the share of `chosen` among `logits`, of which it need not be one."""
    return math.log(sum(math.exp(logit) for logit in logits)) - chosen
