"""What CCAFL is compared with on the same tower and budget: full labels, no labels, the true association."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_models.datasets.sample import I64
from reid_models.datasets.training_sets import U8
from reid_models.encoder import PersonEncoder
from reid_models.experiments.true_images import SIZE
from reid_models.extraction import extract
from reid_models.jaccard import JaccardConfig, jaccard_distances
from reid_models.loader import LoaderConfig
from reid_models.losses.metric import batch_hard_triplet_loss, identity_loss
from reid_models.losses.prototypes import memory_loss
from reid_models.memory import CentroidMemory, class_means
from reid_models.methods.ccafl import InterCameraStage
from reid_models.pseudo_labels import cluster
from reid_models.samplers import identity_draws
from reid_models.schedules import OptimiserConfig, Schedule
from reid_models.trainer import Figures, Losses, Stage

EPOCHS, BATCHES = 24, 150
IDENTITIES, IMAGES = 16, 4
OPTIMISER = OptimiserConfig(1.5e-3, 0.02, "adamw", decays_vectors=False, schedule=Schedule(2.0, epochs=EPOCHS))
LOADER = LoaderConfig(((0, SIZE),))


class LabelStage(Stage):
    """The supervised yardstick: identity loss behind the neck, batch-hard triplet loss before it (Luo et al. 2019)."""

    name, optimisers = "identity", ("all",)

    def __init__(self, encoder: PersonEncoder, classifier: nn.Linear, images: U8, labels: I64) -> None:
        self.epochs, self.images, self.loader = EPOCHS, images, LOADER
        self.encoder, self.classifier, self.labels = encoder, classifier, labels

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        return list(identity_draws(self.labels, IDENTITIES, IMAGES, BATCHES, rng))

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        assert images is not None
        features = self.encoder(images)
        labels = torch.from_numpy(self.labels[indices])
        logits = self.classifier(features.appearance)
        with torch.autocast("cpu", enabled=False):
            return {
                "identity": identity_loss(logits.float(), labels),
                "triplet": batch_hard_triplet_loss(features.pooled.float(), labels, 0.3),
            }


class ClusterStage(Stage):
    """No labels at all: clusters of the present features, learnt against their centroids (Dai et al. 2022)."""

    name, optimisers = "cluster", ("all",)

    def __init__(self, encoder: PersonEncoder, images: U8) -> None:
        self.epochs, self.images, self.loader, self.encoder = EPOCHS, images, LOADER, encoder
        self.all_images = images

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        features = extract(self.encoder, self.unit_features, self.all_images, SIZE)
        self.labels = cluster(jaccard_distances(features.numpy(), JaccardConfig(), largest_kept=0.6), 0.6, 4)
        count = int(self.labels.max()) + 1
        self.memory = CentroidMemory(class_means(features, torch.from_numpy(self.labels), count), 0.1)
        return list(identity_draws(self.labels, IDENTITIES, IMAGES, BATCHES, rng))

    def unit_features(self, images: Tensor) -> Tensor:
        return functional.normalize(self.encoder(images).appearance.float(), dim=1)

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        assert images is not None
        features = self.unit_features(images)
        labels = torch.from_numpy(self.labels[indices])
        self._seen = features.detach(), labels
        return {"memory": memory_loss(features, labels, self.memory.centroids, 0.05)}

    def after_update(self) -> None:
        self.memory.update(*self._seen, rule="hard")

    def figures(self) -> Figures:
        return {"clusters": float(self.labels.max() + 1), "outliers": float((self.labels < 0).mean())}


class ScoredStage(InterCameraStage):
    """Stage 3 of CCAFL, watched: how many of the pairs of classes that it joins are one person, and how many of those
    that are one person it joins. `truth` (G,) stays out of every loss.
    """

    def __init__(self, stage: InterCameraStage, truth: I64) -> None:
        super().__init__(stage.model, stage.data, stage.config, stage.texts)
        self.truth = truth

    def figures(self) -> Figures:
        joined = (self.components[:, None] == self.components) & (self.components >= 0)
        right = self.truth[:, None] == self.truth
        joined, right = np.triu(joined, 1), np.triu(right, 1)
        both = float((joined & right).sum())
        pairs = {"pair_precision": both / max(joined.sum(), 1), "pair_recall": both / right.sum()}
        return {**super().figures(), **pairs}


class OracleStage(ScoredStage):
    """The same with the true association: what is lost to wrong links, and what to the losses."""

    def associate(self, features: Tensor) -> I64:
        return self.truth
