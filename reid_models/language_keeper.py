"""What keeps a model's words right while it learns from images alone: its old language features, with less noise.

The old model describes one image better or worse as the light falls, and the mean over a person's images better than
most of them. That mean is what each image of the person is to be described by: the model teaches itself, and what it
knows of the person's other images is its advantage over itself (self-distillation).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_models import distributed
from reid_models.datasets.sample import I64
from reid_models.encoder import ImageFeatures, PersonEncoder
from reid_models.memory import class_means
from reid_models.trainer import Figures, Losses, Stage


@dataclass(frozen=True, slots=True)
class LanguageWeights:
    """How much the two terms count; see `distance_loss` and `relation_loss`."""

    distance: float = 20.0
    relation: float = 4.0


class KeepsLanguage(Stage):
    """A stage over images with two more terms, between language features and their targets.

    `old_language` (N, L) are unit features of all images by the old model. `people` says in each epoch, after the stage
    has prepared it, which images (N,) are taken for one person; their target is the mean of their old features.
    """

    def __init__(
        self,
        inner: Stage,
        encoder: PersonEncoder,
        old_language: Tensor,
        people: Callable[[], I64],
        weights: LanguageWeights,
    ) -> None:
        self._inner, self._old_language, self._people, self._weights = inner, old_language, people, weights
        self.name, self.epochs, self.optimisers = inner.name, inner.epochs, inner.optimisers
        self.images, self.image_of_sample, self.loader = inner.images, inner.image_of_sample, inner.loader
        self._newest: Tensor | None = None
        encoder.register_forward_hook(self._remember)

    def begin(self) -> None:
        self._inner.begin()

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        batches = self._inner.batches(epoch, rng)
        self.targets = shared_by_person(self._old_language, self._people())
        return batches

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        parts = self._inner.losses(indices, images)
        assert self._newest is not None, "the stage did not ask the encoder"
        targets = self.targets[torch.from_numpy(distributed.share(indices)).to(self.targets.device)]
        with torch.autocast(targets.device.type, enabled=False):
            newest = functional.normalize(self._newest.float(), dim=1)
            return {
                **parts,
                "language": self._weights.distance * distance_loss(newest, targets),
                "language_relation": self._weights.relation * relation_loss(newest, targets),
            }

    def after_update(self) -> None:
        self._newest = None
        self._inner.after_update()

    def figures(self) -> Figures:
        return self._inner.figures()

    def _remember(self, module: nn.Module, _: object, features: ImageFeatures) -> None:
        if module.training:
            self._newest = features.language


def distance_loss(features: Tensor, targets: Tensor) -> Tensor:
    """One minus the cosine, for unit rows (B, L)."""
    return (1.0 - (features * targets).sum(dim=1)).mean()


def relation_loss(features: Tensor, targets: Tensor, temperature: float = 0.05) -> Tensor:
    """Whom each image resembles among the targets of its batch: unlike the distance, it counts what tells people apart.

    Kullback-Leibler divergence of the features' softmax over the targets (B, L) from that of the targets themselves.
    """
    wanted = functional.softmax(targets @ targets.T / temperature, dim=1)
    found = functional.log_softmax(features @ targets.T / temperature, dim=1)
    return functional.kl_div(found, wanted, reduction="batchmean")


def shared_by_person(features: Tensor, people: I64) -> Tensor:
    """(N, L) unit features, each the direction of the mean of `features` (N, L) over the images of its person."""
    labels = torch.from_numpy(np.unique(people, return_inverse=True)[1].reshape(-1)).to(features.device)
    return class_means(features, labels, int(labels.max()) + 1)[labels]
