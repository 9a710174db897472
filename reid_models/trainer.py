"""The one training loop: named stages, mixed precision, gradient accumulation, resume, several processes.

A method is a list of stages over shared modules and named optimisers. All randomness of an epoch follows from the seed,
the stage and the epoch, and everything that a stage derives (cached features, pseudo-labels, memories) it derives anew
from the modules; so a checkpoint after each epoch is enough to go on, after kill -9 too, to the same result.
"""

from __future__ import annotations

import logging
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from pipeline.errors import ConfigurationError
from reid_models import distributed
from reid_models.checkpoints import CHECKPOINT, Checkpoint, load_checkpoint, save_checkpoint
from reid_models.datasets.sample import I64
from reid_models.extraction import autocast
from reid_models.loader import LoaderConfig, training_batches
from reid_models.schedules import Optimisation

log = logging.getLogger(__name__)

Losses = Mapping[str, Tensor]
Figures = Mapping[str, float]


class Stage(ABC):
    """A named part of a method."""

    name: str
    epochs: int
    optimisers: tuple[str, ...]  # names in `Method.optimisers`; each steps once per update
    images: npt.NDArray[np.uint8] | None = None  # what batches index; None: the stage works on cached features
    image_of_sample: I64 | None = None  # the place of each sample's image, where samples are not images (captions)
    loader: LoaderConfig | None = None

    def begin(self) -> None:  # noqa: B027  (most stages have nothing to do)
        """Before the stage's first epoch, and again when a run resumes inside it: freeze, cache what stays fixed."""

    @abstractmethod
    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        """Prepare an epoch (pseudo-labels, memories) and say which samples form its batches."""

    @abstractmethod
    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        """The terms whose sum is minimised. `images` are this process's share of the batch; features of the whole
        batch come from `distributed.gathered`.
        """

    def after_update(self) -> None:  # noqa: B027
        """After the optimisers' step: memories learn here, from what `losses` left behind."""

    def figures(self) -> Figures:
        """What is worth knowing of the present epoch besides losses (clusters, outliers, …)."""
        return {}


@dataclass(frozen=True, slots=True)
class Method:
    """What is trained: `modules` holds every parameter and buffer that lasts."""

    modules: nn.Module
    optimisers: Mapping[str, Optimisation]
    stages: Sequence[Stage]


@dataclass(frozen=True, slots=True)
class TrainerConfig:
    """How the loop runs, whatever the method."""

    seed: int = 0
    device: str = "cpu"
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    accumulation: int = 1  # batches per update; each counts with its share of the loss
    gradient_norm: float | None = None  # longer gradients are shortened to this
    evaluate_epochs: int = 0  # evaluate every so many epochs; 0: only at the end
    stop_after_epochs: int | None = None  # end early and cleanly, for a time budget; the next run goes on


@dataclass(frozen=True, slots=True)
class Run:
    """Where a run keeps its state and whom it tells. `configuration` and `data_digest` say what it is a run of: a
    checkpoint with others is refused.
    """

    folder: Path
    configuration: Mapping[str, Any] = field(default_factory=dict)
    data_digest: str = ""
    evaluate: Callable[[], Figures] | None = None
    report: Callable[[str, int, Figures], None] | None = None  # (stage, epochs done in all, figures)


def train(method: Method, config: TrainerConfig, run: Run) -> Figures:
    """Run all stages, from the last checkpoint in the run's folder if there is one; returns the last evaluation.

    Raises `ConfigurationError` for a checkpoint of another configuration and for a loss that is no number.
    """
    distributed.join(config.device)
    path = run.folder / CHECKPOINT
    done = _resume(method, config, run, path)
    figures: Figures = done.metrics
    total = sum(stage.epochs for stage in method.stages)
    past = 0
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.1f}/{task.total} epochs")
    is_shown = sys.stderr.isatty() and distributed.is_main()
    with Progress(*columns, TimeRemainingColumn(), disable=not is_shown, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total, completed=done.epochs_done)
        for number, stage in enumerate(method.stages):
            has_begun = False
            for epoch in range(stage.epochs):
                past += 1
                if past <= done.epochs_done:
                    continue
                if config.stop_after_epochs is not None and past > config.stop_after_epochs:
                    return figures
                _seed_everything(config.seed, number, epoch)
                if not has_begun:
                    progress.update(task, description=stage.name)
                    stage.begin()
                    has_begun = True
                told = _run_epoch(method, stage, config, (config.seed, number, epoch), progress, task)
                if _is_evaluated(past, total, config) and run.evaluate is not None:
                    figures = run.evaluate()
                    told = {**told, **figures}
                log.info("%s %d/%d %s", stage.name, epoch + 1, stage.epochs, {k: round(v, 4) for k, v in told.items()})
                if distributed.is_main():
                    if run.report is not None:
                        run.report(stage.name, past, told)
                    save_checkpoint(path, _checkpoint(method, config, run, past, figures))
    return figures


def _run_epoch(
    method: Method, stage: Stage, config: TrainerConfig, seed: tuple[int, int, int], progress: Progress, task: Any
) -> dict[str, float]:
    device = torch.device(config.device)
    optimisers = [method.optimisers[name] for name in stage.optimisers]
    parameters = [parameter for optimiser in optimisers for _, parameter in optimiser.parameters]
    batches = stage.batches(seed[2], np.random.default_rng(seed))
    if not batches:
        raise ConfigurationError(
            f"stage {stage.name} has no batch in epoch {seed[2]}: too few labels or images for one; use smaller batches"
        )
    method.modules.train()
    images: Any = [None] * len(batches)
    if stage.images is not None and stage.loader is not None:
        wanted = batches
        if stage.image_of_sample is not None:
            wanted = [stage.image_of_sample[indices] for indices in batches]
        images = training_batches(stage.images, wanted, stage.loader, seed[2], seed, device)
    totals: dict[str, float] = {}
    rates: dict[str, float] = {}
    for place, (indices, shown) in enumerate(zip(batches, images, strict=True)):
        with autocast(device, config.precision):
            parts = stage.losses(indices, shown)
        total = torch.stack([part.float() for part in parts.values()]).sum()
        for name, part in parts.items():
            totals[name] = totals.get(name, 0.0) + part.item() / len(batches)
        if not math.isfinite(total.item()):
            found = {name: part.item() for name, part in parts.items()}
            raise ConfigurationError(
                f"the loss of stage {stage.name}, epoch {seed[2]}, batch {place} is no number: {found}; lower the "
                "learning rate or look at the data"
            )
        (total / config.accumulation).backward()
        if (place + 1) % config.accumulation == 0 or place + 1 == len(batches):
            distributed.average_gradients(parameters)
            if config.gradient_norm is not None:
                nn.utils.clip_grad_norm_(parameters, config.gradient_norm)
            for name, optimiser in zip(stage.optimisers, optimisers, strict=True):
                rates[f"rate_{name}"] = optimiser.set_rate(
                    place // config.accumulation * config.accumulation / len(batches)
                )
                optimiser.step()
                optimiser.clear()
            stage.after_update()
        progress.advance(task, 1 / len(batches))
    distributed.average_buffers(method.modules)
    for optimiser in optimisers:
        optimiser.epochs_used += 1
    return {**totals, **rates, **stage.figures()}


def _seed_everything(seed: int, stage: int, epoch: int) -> None:
    """Dropout and the like draw from torch's own generator."""
    torch.manual_seed(int(np.random.SeedSequence((seed, stage, epoch)).generate_state(1)[0]))


def _is_evaluated(past: int, total: int, config: TrainerConfig) -> bool:
    return past == total or (config.evaluate_epochs > 0 and past % config.evaluate_epochs == 0)


def _checkpoint(method: Method, config: TrainerConfig, run: Run, past: int, figures: Figures) -> Checkpoint:
    return Checkpoint(
        epochs_done=past,
        configuration={**run.configuration, "seed": config.seed},
        data_digest=run.data_digest,
        metrics=dict(figures),
        epochs_used={name: optimiser.epochs_used for name, optimiser in method.optimisers.items()},
        modules=method.modules.state_dict(),
        optimisers={name: optimiser.state() for name, optimiser in method.optimisers.items()},
    )


def _resume(method: Method, config: TrainerConfig, run: Run, path: Path) -> Checkpoint:
    wanted = _checkpoint(method, config, run, 0, {})
    if not path.exists():
        return wanted
    found = load_checkpoint(path, wanted)
    method.modules.load_state_dict(found.modules)
    for name, optimiser in method.optimisers.items():
        optimiser.load(found.optimisers.get(name, {}))
        optimiser.epochs_used = found.epochs_used[name]
    log.info("going on after %d epochs from %s", found.epochs_done, path)
    return found
