"""Optimisers and how their rates change; both are values that several stages may share by name."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Schedule:
    """Share of the full rate over the epochs that an optimiser has been used for: a straight warm-up from
    `warm_up_factor`, then steps (times `decay` at each of `milestones`) or, with `epochs`, half a cosine to `floor`.

    `whole_epochs` holds the rate during an epoch, as the published methods do; otherwise it changes with every batch.
    """

    warm_up_epochs: float = 0.0
    warm_up_factor: float = 0.01
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    epochs: int | None = None  # length of the cosine, warm-up included; None: steps
    floor: float = 0.0  # of the cosine, as a share
    whole_epochs: bool = False

    def share(self, epoch: float) -> float:
        if self.whole_epochs:
            epoch = math.floor(epoch)
        if epoch < self.warm_up_epochs:
            return self.warm_up_factor + (1.0 - self.warm_up_factor) * epoch / self.warm_up_epochs
        if self.epochs is None:
            return self.decay ** sum(milestone <= epoch for milestone in self.milestones)
        done = min(1.0, (epoch - self.warm_up_epochs) / max(self.epochs - self.warm_up_epochs, 1e-9))
        return self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * done))


@dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """`bias_rate_factor` multiplies the rate of biases (2 in CLIP-ReID and its descendants); `decays_vectors` says
    whether biases, scales and shifts are decayed like matrices (they are in the published code of those).
    """

    learning_rate: float
    weight_decay: float = 0.0
    algorithm: Literal["adam", "adamw"] = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    bias_rate_factor: float = 1.0
    decays_vectors: bool = True
    schedule: Schedule = field(default_factory=Schedule)


class Optimisation:
    """One optimiser over some modules, with its schedule. Stages that name the same one go on where the last stopped.

    `epochs_used` counts the epochs of all stages that used it; the schedule reads it.
    """

    def __init__(self, config: OptimiserConfig, modules: Iterable[nn.Module | nn.Parameter]) -> None:
        self.config = config
        self.epochs_used = 0
        self.parameters = _trained(modules)
        make = torch.optim.AdamW if config.algorithm == "adamw" else torch.optim.Adam
        # One key per group in which rate or decay differ; insertion order is the order of the parameters.
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.parameters:
            is_bias = name.endswith("bias")  # also `in_proj_bias` of attention
            rate = config.learning_rate * (config.bias_rate_factor if is_bias else 1.0)
            decay = config.weight_decay if config.decays_vectors or parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
        self._full_rates = [rate for rate, _ in groups]
        self._optimiser: torch.optim.Optimizer = make(
            [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()],
            betas=config.betas,
            eps=config.epsilon,
        )

    def set_rate(self, epoch_share: float) -> float:
        """Set the rates for a place within the present epoch (0 to 1); returns the rate of the first group."""
        share = self.config.schedule.share(self.epochs_used + epoch_share)
        for group, full in zip(self._optimiser.param_groups, self._full_rates, strict=True):
            group["lr"] = full * share
        return self._full_rates[0] * share

    def step(self) -> None:
        self._optimiser.step()

    def clear(self) -> None:
        self._optimiser.zero_grad(set_to_none=True)

    def state(self) -> dict[str, torch.Tensor]:
        """Moments and counts by parameter, as tensors."""
        tensors = {}
        for place, values in self._optimiser.state_dict()["state"].items():
            for key, value in values.items():
                tensors[f"{place}.{key}"] = torch.as_tensor(value)
        return tensors

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        state: dict[int, dict[str, Any]] = {}
        for name, value in tensors.items():
            place, key = name.split(".", 1)
            state.setdefault(int(place), {})[key] = value
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": state})


def _trained(modules: Iterable[nn.Module | nn.Parameter]) -> list[tuple[str, nn.Parameter]]:
    named: list[tuple[str, nn.Parameter]] = []
    for module in modules:
        if isinstance(module, nn.Parameter):
            named.append(("", module))
        else:
            named.extend((name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad)
    return named
