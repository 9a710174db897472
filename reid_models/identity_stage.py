"""Learning an image encoder from identities: what CLIP-ReID calls stage 2 without its texts, and CLIP-FGDI stage 1.

Identity loss on two classifiers, batch-hard triplet loss on three features that are not normalised; the encoder's own
neck serves the pooled features, a second one the projected features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.errors import ConfigurationError
from reid_models.datasets.sample import I64
from reid_models.datasets.training_sets import LabelledSet
from reid_models.descriptor import Descriptor
from reid_models.distributed import gathered
from reid_models.encoder import ImageFeatures, PersonEncoder
from reid_models.evaluation import Metric
from reid_models.loader import LoaderConfig
from reid_models.losses.metric import batch_hard_triplet_loss, identity_loss
from reid_models.neck import Neck
from reid_models.samplers import identity_batches
from reid_models.trainer import Losses, Stage


class IdentityHeads(nn.Module):
    """A linear classifier without bias on the appearance feature, and one behind a neck on the projected feature."""

    def __init__(self, encoder: PersonEncoder, classes: int) -> None:
        super().__init__()
        self.appearance = nn.Linear(encoder.appearance_width, classes, bias=False)
        nn.init.normal_(self.appearance.weight, std=0.001)
        self.language = Neck(encoder.language_width, classes)

    def forward(self, features: ImageFeatures) -> tuple[Tensor, Tensor]:
        """Both logits, (B, classes) each."""
        return self.appearance(features.appearance), self.language.logits(self.language(features.language))


@dataclass(frozen=True, slots=True)
class IdentityStageConfig:
    """How long, on what batches, with which weights; `margin` None is the soft margin."""

    loader: LoaderConfig
    epochs: int
    identities_per_batch: int = 16
    images_per_identity: int = 4
    identity_weight: float = 1.0
    margin: float | None = 0.3
    device: str = "cpu"


class IdentityStage(Stage):
    """P×K batches; a method adds what its texts teach in `text_losses`."""

    optimisers = ("encoder",)

    def __init__(
        self, name: str, encoder: PersonEncoder, heads: IdentityHeads, data: LabelledSet, config: IdentityStageConfig
    ) -> None:
        self.name, self.epochs = name, config.epochs
        self.encoder, self.heads, self.data, self.config = encoder, heads, data, config
        self.images, self.loader = data.images, config.loader

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        config = self.config
        drawn = identity_batches(self.data.identities, config.identities_per_batch, config.images_per_identity, rng)
        return list(drawn)

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        assert images is not None
        cameras = self.data.cameras
        numbers = None if cameras is None else self.on_device(cameras[indices])
        features = _whole_batch(self.encoder(images, numbers))
        labels = self.on_device(self.data.identities[indices])
        margin = self.config.margin
        with torch.autocast(labels.device.type, enabled=False):
            identity = [identity_loss(logits, labels) for logits in self.heads(features)]
            triplet = [
                batch_hard_triplet_loss(feature, labels, margin)
                for feature in (features.penultimate, features.pooled, features.language)
            ]
            return {
                "identity": self.config.identity_weight * torch.stack(identity).sum(),
                "triplet": torch.stack(triplet).sum(),
                **self.text_losses(features.language, labels, indices),
            }

    def text_losses(self, projected: Tensor, labels: Tensor, indices: I64) -> Mapping[str, Tensor]:
        """Further terms on the projected features (B, L) of the samples `indices`, float32."""
        return {}

    def on_device(self, values: I64) -> Tensor:
        return torch.from_numpy(values).to(self.config.device)


def concatenated_descriptor(encoder: PersonEncoder, metric: Metric) -> Descriptor:
    """Pooled and projected features side by side, before the necks."""

    def describe(images: Tensor, cameras: Tensor | None = None) -> Tensor:
        features = encoder(images, cameras)
        return torch.cat([features.pooled.float(), features.language.float()], dim=1)

    return Descriptor(encoder, describe, metric)


def count_labels(labels: I64, name: str, least: int) -> int:
    """How many there are. Raises `ConfigurationError` unless they are 0, 1, … without gaps, at least `least` of them.

    A count from anywhere else would leave classes without images in classifiers and among the texts.
    """
    present = np.unique(labels)
    if len(present) < least or not np.array_equal(present, np.arange(len(present))):
        span = f"from {present[0]} to {present[-1]}" if len(present) else "none"
        raise ConfigurationError(
            f"the training set has {len(present)} {name} ({span}); expected at least {least}, numbered from 0 without "
            "gaps: renumber what is left after filtering"
        )
    return len(present)


def _whole_batch(features: ImageFeatures) -> ImageFeatures:
    """Of all processes, as float32."""
    return ImageFeatures(
        *(
            gathered(feature).float()
            for feature in (features.penultimate, features.pooled, features.appearance, features.language)
        )
    )
