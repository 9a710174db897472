"""The training loop: one stage at a time, mixed precision, warm-up and cosine decay, a checkpoint every few epochs."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import save_model
from torch import Tensor, nn
from torch.nn import functional

from reid_models.samplers import identity_batches
from reid_models.transforms import AugmentConfig, augment

log = logging.getLogger(__name__)

I64 = npt.NDArray[np.int64]
Losses = Mapping[str, Tensor]

IMAGE_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, the custom
IMAGE_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class StageConfig:
    """One stage. Early epochs may run at smaller images: most of what they teach does not need the details."""

    name: str
    epochs: int
    learning_rate: float
    sizes: tuple[tuple[int, tuple[int, int]], ...]  # (from this epoch on, (height, width)), the first from 0
    warm_up_epochs: float = 2.0
    weight_decay: float = 0.02
    gradient_norm: float = 5.0  # longer gradients are shortened to this
    identities_per_batch: int = 16
    images_per_identity: int = 4
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    seed: int = 0
    checkpoint_epochs: int = 4
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Images in memory with one integer label each; negative labels are not drawn."""

    images: npt.NDArray[np.uint8]  # (N, H, W, 3) RGB
    labels: I64  # (N,)


def run_stage(
    config: StageConfig,
    modules: nn.Module,
    training_set: TrainingSet,
    losses: Callable[[Tensor, I64], Losses],
    checkpoint: Path,
) -> None:
    """Minimise the sum of `losses(images, indices)` over all parameters of `modules` that need a gradient.

    `images` are (P * K, 3, H, W) normalised and augmented, `indices` their places in `training_set`. The
    file `checkpoint` is overwritten every few epochs and at the end.
    """
    rng = np.random.default_rng(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    parameters = [parameter for parameter in modules.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(_decay_groups(parameters, config.weight_decay), lr=config.learning_rate)
    with Progress(disable=not sys.stderr.isatty(), console=Console(stderr=True)) as progress:
        task = progress.add_task(config.name, total=config.epochs)
        for epoch in range(config.epochs):
            modules.train()
            batches = list(
                identity_batches(training_set.labels, config.identities_per_batch, config.images_per_identity, rng)
            )
            totals: dict[str, float] = {}
            for step, indices in enumerate(batches):
                done = epoch + step / len(batches)
                for group in optimiser.param_groups:
                    group["lr"] = config.learning_rate * rate_factor(done, config.epochs, config.warm_up_epochs)
                images = prepare(training_set.images[indices], size_at(config.sizes, epoch), config.augment, generator)
                with torch.autocast(config.device, torch.bfloat16):
                    parts = losses(images.to(config.device), indices)
                total = torch.stack(list(parts.values())).sum()
                total.backward()
                nn.utils.clip_grad_norm_(parameters, config.gradient_norm)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                for name, value in parts.items():
                    totals[name] = totals.get(name, 0.0) + value.item() / len(batches)
                progress.update(task, completed=done)
                log.debug("%s step %d/%d", config.name, step + 1, len(batches))
            log.info("%s %d/%d %s", config.name, epoch + 1, config.epochs, {k: round(v, 3) for k, v in totals.items()})
            if (epoch + 1) % config.checkpoint_epochs == 0 or epoch + 1 == config.epochs:
                save_model(modules, str(checkpoint))


def rate_factor(epoch: float, epochs: int, warm_up_epochs: float) -> float:
    """Share of the full learning rate: a straight warm-up, then half a cosine down to nothing."""
    if epoch < warm_up_epochs:
        return 0.01 + 0.99 * epoch / warm_up_epochs
    return 0.5 * (1.0 + math.cos(math.pi * (epoch - warm_up_epochs) / (epochs - warm_up_epochs)))


def size_at(sizes: tuple[tuple[int, tuple[int, int]], ...], epoch: int) -> tuple[int, int]:
    """The (height, width) in force in `epoch`."""
    return [size for start, size in sizes if start <= epoch][-1]


def prepare(
    images: npt.NDArray[np.uint8], size: tuple[int, int], config: AugmentConfig, generator: torch.Generator
) -> Tensor:
    """(B, H, W, 3) RGB bytes → (B, 3, height, width) augmented, normalised, channels last."""
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    if tuple(batch.shape[2:]) != size:
        batch = functional.interpolate(batch, size=size, mode="bilinear", align_corners=False, antialias=True)
    return normalise(augment(batch, config, generator)).contiguous(memory_format=torch.channels_last)


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) values 0 to 255 → zero mean, unit deviation."""
    mean = torch.tensor(IMAGE_MEAN).view(3, 1, 1) * 255.0
    std = torch.tensor(IMAGE_STD).view(3, 1, 1) * 255.0
    return (images - mean) / std


def _decay_groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    """Scales, shifts and temperatures are not decayed."""
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
