"""Several processes that train one model, started by `torchrun`. Alone, every function here does nothing.

Each process encodes its share of a batch; `gathered` then gives every process the features of the whole batch, so that
losses, memories and pseudo-labels are those of a single process. Gradients are averaged before each step.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from pipeline.errors import ConfigurationError
from reid_models.datasets.sample import I64


def join(device: str) -> None:
    """Become one of the processes that `torchrun` started, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if device.startswith("cuda"):
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if dist.is_initialized():
        dist.barrier()


def leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    return rank() == 0


def share(indices: I64) -> I64:
    """This process's part of a batch. Raises `ConfigurationError` if the batch cannot be divided equally."""
    if len(indices) % world_size():
        raise ConfigurationError(
            f"a batch of {len(indices)} cannot be divided among {world_size()} processes; choose a batch size that is "
            f"a multiple of {world_size()}"
        )
    part = len(indices) // world_size()
    return indices[rank() * part : (rank() + 1) * part]


def gathered(features: Tensor) -> Tensor:
    """(b, ...) of each process → (B, ...) in the order of the processes, with gradient."""
    if world_size() == 1:
        return features
    whole: Tensor = _Gather.apply(features)  # type: ignore[no-untyped-call]
    return whole


class _Gather(torch.autograd.Function):
    """Every process computes the same loss from the whole batch, so the sum of all gradients of a part is the number of
    processes times its own: no communication backwards, and the average over processes is the gradient of one.
    """

    @staticmethod
    def forward(_: Any, features: Tensor) -> Tensor:
        parts = [torch.empty_like(features) for _ in range(world_size())]
        dist.all_gather(parts, features.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        part = len(gradients[0]) // world_size()
        return gradients[0][rank() * part : (rank() + 1) * part] * world_size()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes, in one message."""
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world_size()
    position = 0
    for gradient in gradients:
        gradient.copy_(flat[position : position + gradient.numel()].view_as(gradient))
        position += gradient.numel()


def average_buffers(module: nn.Module) -> None:
    """Running statistics of batch normalisation are each process's own during an epoch, and one after it."""
    if world_size() == 1:
        return
    for buffer in module.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= world_size()
