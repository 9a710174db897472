"""What a method remembers of each class between batches: a centroid, and in CCAFL also some instances.

A memory learns by an explicit `update` after the optimiser's step, not inside the backward pass as in the published
code: the numbers are the same, and a step that is skipped skips its update. Buffers hold the state. `momentum` is the
weight of the old value: 0.1 means that nine tenths are new.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

UpdateRule = Literal["mean", "each", "hard"]


class CentroidMemory(nn.Module):
    """One unit vector for each class: `centroids` (K, d), normalised here; a zero row stays zero until it is updated.

    K may be 0, where clustering found nothing.
    """

    centroids: Tensor

    def __init__(self, centroids: Tensor, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("centroids", functional.normalize(centroids.detach(), dim=1))

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor, rule: UpdateRule = "mean") -> None:
        """Move the centroids of a batch's classes towards its features, and normalise them again.

        `features` (B, d) are normalised here, `labels` (B,) are rows of the memory, negative ones are ignored. "mean"
        takes the mean of a class's features (CCAFL, intra-camera stage); "each" one feature after the other in the
        order of the batch, normalised in between (ClusterContrast, Dai et al. 2022); "hard" only the feature least
        similar to its centroid, the first of equals (the hard rule of its code; CCAFL, inter-camera stage).
        """
        features, labels = _labelled(features, labels, self.centroids)
        turns = _turns(labels)
        if rule == "mean":
            classes, members = labels.unique(return_inverse=True)
            counts = members.bincount(minlength=len(classes))
            self._blend(classes, _sums(features, members, len(classes)) / counts[:, None])
        elif rule == "each":
            # Classes do not touch one another, so one turn takes a feature of every class at once.
            for turn in turns.unique():
                self._blend(labels[turns == turn], features[turns == turn])
        else:
            similarity = (features * self.centroids[labels]).sum(dim=1)
            ascending = similarity.argsort(stable=True)
            hardest = ascending[_turns(labels[ascending]) == 0]
            self._blend(labels[hardest], features[hardest])

    def _blend(self, classes: Tensor, features: Tensor) -> None:
        """`classes` holds every class once."""
        mixed = self.momentum * self.centroids[classes] + (1.0 - self.momentum) * features
        self.centroids[classes] = functional.normalize(mixed, dim=1)


class HybridMemory(CentroidMemory):
    """A centroid and S instances of each class: CCAFL's memory of one camera, in the authors' code with S = 32.

    `slots` (K, S, d) are normalised here; at the start of an epoch they are random images of the class, some of them
    more than once. A camera has a memory of its own.
    """

    slots: Tensor

    def __init__(self, centroids: Tensor, slots: Tensor, momentum: float) -> None:
        super().__init__(centroids, momentum)
        self.register_buffer("slots", functional.normalize(slots.detach(), dim=2))

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor, rule: UpdateRule = "mean") -> None:
        """Update the centroids, and put the n features of a class into the first n of its slots.

        The other slots keep what they had. Of more than S features of one class the first S are kept. Shapes and the
        rule as in `CentroidMemory.update`.
        """
        super().update(features, labels, rule)
        features, labels = _labelled(features, labels, self.slots)
        turns = _turns(labels)
        fits = turns < self.slots.shape[1]
        self.slots[labels[fits], turns[fits]] = features[fits]


@torch.no_grad()
def class_means(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """(classes, d) unit vectors: the direction of the mean of each class's `features` (N, d).

    `labels` (N,) are below `classes`, negative ones are ignored. A class without a feature gets a zero row. Features
    count with the length that they have; all methods here pass unit vectors.
    """
    kept = labels >= 0
    # The mean and the sum have the same direction.
    return functional.normalize(_sums(features[kept], labels[kept], classes), dim=1)


def _labelled(features: Tensor, labels: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    kept = labels >= 0
    return functional.normalize(features.detach().to(like)[kept], dim=1), labels[kept]


def _sums(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    return features.new_zeros(classes, features.shape[1]).index_add_(0, labels, features)


def _turns(labels: Tensor) -> Tensor:
    """How many earlier entries of `labels` (B,) have the same label."""
    order = labels.argsort(stable=True)
    ordered = labels[order]
    places = torch.arange(len(labels), device=labels.device)
    return torch.empty_like(labels).scatter(0, order, places - torch.searchsorted(ordered, ordered))
