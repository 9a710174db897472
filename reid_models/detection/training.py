"""The training of the detector: one stage that draws its own pictures, and a smoothed copy of the network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pipeline.contracts import F32, Image
from pipeline.errors import ConfigurationError
from reid_models.checkpoints import MODULES
from reid_models.datasets.sample import I64
from reid_models.detection.backgrounds import Size
from reid_models.detection.composition import Composer
from reid_models.detection.losses import LossConfig, detection_losses
from reid_models.detection.network import NetworkConfig, PersonDetector
from reid_models.detection.pictures import Picture
from reid_models.schedules import Optimisation, OptimiserConfig, Schedule
from reid_models.trainer import Losses, Method, Stage, TrainerConfig

OPTIMISER = "detector"
_SMOOTHING_WARM_UP = 400  # updates; before, the smoothed copy follows faster


@dataclass(frozen=True, slots=True)
class DetectorRecipe:
    """How long, how fast, at which sizes. An epoch is only a number of batches: no two pictures are alike."""

    epochs: int = 30
    batches_per_epoch: int = 100
    batch: int = 16
    learning_rate: float = 2e-3
    sizes: tuple[Size, ...] = ((256, 416), (320, 320), (224, 480))  # height, width of a batch's pictures
    smoothing: float = 0.998  # share of the smoothed weights that stays at each update
    network: NetworkConfig = field(default_factory=NetworkConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(gradient_norm=10.0))

    def optimiser(self) -> OptimiserConfig:
        schedule = Schedule(1.0, epochs=self.epochs, floor=0.01)
        return OptimiserConfig(self.learning_rate, 0.05, "adamw", decays_vectors=False, schedule=schedule)


class Detectors(nn.Module):
    """The network that learns, and the running mean of its weights, which is what is used."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.learning = PersonDetector(config)
        self.smoothed = copy.deepcopy(self.learning).requires_grad_(False)
        self.updates: Tensor
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def follow(self, smoothing: float) -> None:
        """Move the running mean; at first faster, since the beginning is nothing to remember."""
        self.updates += 1
        updates = int(self.updates)
        stays = min(smoothing, updates / (updates + _SMOOTHING_WARM_UP))
        values = self.learning.state_dict()
        with torch.no_grad():
            for name, mean in self.smoothed.state_dict().items():
                if mean.dtype.is_floating_point:
                    mean.lerp_(values[name], 1 - stays)


class DetectionStage(Stage):
    """Draws each batch anew; all randomness follows from the epoch's generator."""

    name = "detection"
    optimisers = (OPTIMISER,)

    def __init__(self, detectors: Detectors, composer: Composer, recipe: DetectorRecipe) -> None:
        self.detectors, self.composer, self.recipe = detectors, composer, recipe
        self.epochs = recipe.epochs

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        self._rng = rng
        count, size = self.recipe.batches_per_epoch, self.recipe.batch
        return list(np.arange(count * size).reshape(count, size))

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        size = self.recipe.sizes[self._rng.integers(len(self.recipe.sizes))]
        pictures = [self.composer.draw(size, self._rng) for _ in indices]
        device = self.detectors.updates.device
        outputs = self.detectors.learning(network_input([picture.image for picture in pictures]).to(device))
        people, doubtful = (padded(boxes).to(device) for boxes in _columns(pictures))
        with torch.autocast(device.type, enabled=False):
            return detection_losses(outputs, people, doubtful, size, self.recipe.losses)

    def after_update(self) -> None:
        self.detectors.follow(self.recipe.smoothing)


def detection_method(composer: Composer, recipe: DetectorRecipe) -> tuple[Method, Detectors]:
    """One stage over one network."""
    torch.manual_seed(recipe.trainer.seed)
    detectors = Detectors(recipe.network)
    optimiser = Optimisation(recipe.optimiser(), [detectors.learning])
    return Method(detectors, {OPTIMISER: optimiser}, (DetectionStage(detectors, composer, recipe),)), detectors


def load_smoothed(checkpoint: Path, config: NetworkConfig) -> PersonDetector:
    """What a run has learnt, to be used. Raises `ConfigurationError` for a file without this network."""
    network = PersonDetector(config)
    prefix = f"{MODULES}smoothed."
    try:
        with safe_open(checkpoint, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118  (not a dict)
            network.load_state_dict({name.removeprefix(prefix): file.get_tensor(name) for name in names})
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ConfigurationError(
            f"{checkpoint} holds no detector of these sizes ({error}); expected a checkpoint of `train`"
        ) from error
    return network.eval()


def network_input(images: Sequence[Image]) -> Tensor:
    """(H, W, 3) RGB images of one size → (B, 3, H, W) BGR of 0 to 255, channels last in memory."""
    planes = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).flip(1)
    return planes.float().contiguous(memory_format=torch.channels_last)


def padded(boxes: Sequence[F32]) -> Tensor:
    """Boxes (K, 4) of each picture → (B, largest K, 4), filled up with zeros; at least one row."""
    rows = torch.zeros(len(boxes), max(1, *map(len, boxes)), 4)
    for row, some in zip(rows, boxes, strict=True):
        row[: len(some)] = torch.from_numpy(some)
    return rows


def _columns(pictures: Sequence[Picture]) -> tuple[list[F32], list[F32]]:
    return [picture.people for picture in pictures], [picture.doubtful for picture in pictures]
