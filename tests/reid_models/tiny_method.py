"""A method small enough to train within a second: two stages over one linear encoder, with a shared optimiser.

As a program it trains into the folder given, as one of several processes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_models import distributed
from reid_models.datasets.sample import I64
from reid_models.loader import LoaderConfig
from reid_models.losses.metric import batch_hard_triplet_loss
from reid_models.samplers import identity_batches
from reid_models.schedules import Optimisation, OptimiserConfig, Schedule
from reid_models.trainer import Losses, Method, Run, Stage, TrainerConfig, train
from reid_models.transforms import AugmentConfig

LABELS: I64 = np.repeat(np.arange(8), 6).astype(np.int64)
SIZE = (16, 8)
UNCHANGED = AugmentConfig(0.0, 0.0, 0.0, 0.0, 1.0, 0.0)


class TinyModel(nn.Module):
    """A linear encoder, a classifier, dropout to show that its randomness is resumed as well."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(3 * SIZE[0] * SIZE[1], 8)
        self.classifier = nn.Linear(8, 8, bias=False)
        self.register_buffer("prototype", torch.zeros(8))


class TinyStage(Stage):
    """Classifies, and moves a prototype after each step as a memory would."""

    optimisers = ("all",)

    def __init__(self, name: str, epochs: int, model: TinyModel, loader: LoaderConfig, pause_s: float, dropout: float):
        self.name, self.epochs, self.model, self.pause_s, self.dropout = name, epochs, model, pause_s, dropout
        rng = np.random.default_rng(5)
        self.images = rng.integers(0, 256, (len(LABELS), *SIZE, 3), dtype=np.uint8)
        self.loader = loader
        self.begun = 0

    def begin(self) -> None:
        self.begun += 1

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        return list(identity_batches(LABELS, 4, 2, rng))

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        assert images is not None
        time.sleep(self.pause_s)
        features = distributed.gathered(self.model.encoder(images.flatten(1)))
        labels = torch.from_numpy(LABELS[indices])
        self._seen = features.detach().float().mean(dim=0)
        logits = self.model.classifier(functional.dropout(features, self.dropout))
        return {
            "identity": functional.cross_entropy(logits, labels),
            "triplet": batch_hard_triplet_loss(features.float(), labels, 0.3),
        }

    def after_update(self) -> None:
        self.model.prototype.mul_(0.9).add_(0.1 * self._seen)


def tiny_method(augment: AugmentConfig | None = None, pause_s: float = 0.0, dropout: float = 0.2) -> Method:
    torch.manual_seed(0)
    model = TinyModel()
    loader = LoaderConfig(((0, SIZE),), AugmentConfig() if augment is None else augment)
    config = OptimiserConfig(1e-3, 1e-4, schedule=Schedule(2, epochs=6))
    stages = [TinyStage(name, 3, model, loader, pause_s, dropout) for name in ("first", "second")]
    return Method(model, {"all": Optimisation(config, [model])}, stages)


def train_tiny(folder: Path, pause_s: float = 0.0, is_shared: bool = False) -> None:
    """As a process of its own, which may be killed; `is_shared`: so that several can compute what one computes."""
    torch.set_num_threads(1)
    method = tiny_method(UNCHANGED if is_shared else None, pause_s, 0.0 if is_shared else 0.2)
    train(method, TrainerConfig(precision="float32" if is_shared else "bfloat16"), Run(folder))
    distributed.leave()


if __name__ == "__main__":
    train_tiny(Path(sys.argv[1]), is_shared=True)
