"""What keeps a model's words right while it learns from images alone: its language features stay near the old ones."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_models.datasets.sample import I64
from reid_models.encoder import ImageFeatures, PersonEncoder
from reid_models.trainer import Figures, Losses, Stage


class KeepsLanguage(Stage):
    """A stage over images with one more term: one minus the cosine between new and old language features of a batch.

    The old model sees the same augmented images. A stage that shows no images is left as it is.
    """

    def __init__(self, inner: Stage, encoder: PersonEncoder, old: PersonEncoder, weight: float) -> None:
        self._inner, self._old, self._weight = inner, old, weight
        self.name, self.epochs, self.optimisers = inner.name, inner.epochs, inner.optimisers
        self.images, self.image_of_sample, self.loader = inner.images, inner.image_of_sample, inner.loader
        self._newest: Tensor | None = None
        encoder.register_forward_hook(self._remember)

    def begin(self) -> None:
        self._inner.begin()

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        return self._inner.batches(epoch, rng)

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        parts = self._inner.losses(indices, images)
        if images is None or self._newest is None:
            return parts
        with torch.no_grad():
            old: ImageFeatures = self._old(images)
        alike = functional.cosine_similarity(self._newest.float(), old.language.float(), dim=1)
        return {**parts, "language": self._weight * (1.0 - alike).mean()}

    def after_update(self) -> None:
        self._newest = None
        self._inner.after_update()

    def figures(self) -> Figures:
        return self._inner.figures()

    def _remember(self, module: nn.Module, _: object, features: ImageFeatures) -> None:
        if module.training:
            self._newest = features.language


def frozen_copy(encoder: PersonEncoder) -> PersonEncoder:
    """The same model, which never learns."""
    return copy.deepcopy(encoder).eval().requires_grad_(False)
