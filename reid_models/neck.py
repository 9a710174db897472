"""From a tower's map to a feature, and from a feature to one whose direction identifies a person."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

GEM_POWER = 3.0

PoolingName = Literal["tower", "average", "generalised_mean"]


class Neck(nn.BatchNorm1d):
    """Batch normalisation whose shift stays at zero, so that cosine similarity suits what a classifier learns.

    Luo et al. 2019. With `classes` it carries that classifier, linear and without bias. With `forgets` its result is
    orthogonal to the unit vector `forgotten`, zero at first.
    """

    forgotten: Tensor | None

    def __init__(self, width: int, classes: int = 0, forgets: bool = False) -> None:
        super().__init__(width)
        self.bias.requires_grad_(False)
        self.register_buffer("forgotten", torch.zeros(width) if forgets else None)
        self.classifier: nn.Linear | None = None
        if classes:
            self.classifier = nn.Linear(width, classes, bias=False)
            nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, input: Tensor) -> Tensor:
        normalised = super().forward(input)
        if self.forgotten is None:
            return normalised
        # Sums instead of a product of matrices, which int8 would make coarse.
        return normalised - (normalised * self.forgotten).sum(dim=1, keepdim=True) * self.forgotten

    def logits(self, normalised: Tensor) -> Tensor:
        """What `forward` returned (B, width) → (B, classes)."""
        if self.classifier is None:
            raise ValueError("this neck has no classifier; make it with Neck(width, classes)")
        logits: Tensor = self.classifier(normalised)
        return logits


class AveragePooling(nn.Module):
    """(B, D, H, W) → (B, D)."""

    def forward(self, places: Tensor) -> Tensor:
        return places.mean(dim=(2, 3))


class GeneralisedMeanPooling(nn.Module):
    """(B, D, H, W) → (B, D) with one learnable power, between average (1) and maximum (infinity)."""

    def __init__(self) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor([GEM_POWER]))  # one dimension: not a matrix, so never decayed

    def forward(self, places: Tensor) -> Tensor:
        return pool_generalised_mean(places, self.power)


def pool_generalised_mean(features: Tensor, power: float | Tensor = GEM_POWER) -> Tensor:
    """(B, D, H, W) → (B, D): the mean over places of that power, its root taken (Radenović et al. 2018)."""
    # Cubes of bfloat16 would lose most of their digits.
    places = features.float().clamp(min=1e-6).pow(power)
    return places.mean(dim=(2, 3)).pow(1.0 / power).to(features.dtype)


def pooling_module(name: PoolingName) -> nn.Module | None:
    """What replaces a tower's own pooling; None for `tower`, which keeps it."""
    return {"tower": None, "average": AveragePooling(), "generalised_mean": GeneralisedMeanPooling()}[name]
