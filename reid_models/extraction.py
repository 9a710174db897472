"""Features of a whole training or test set, in order, without augmentation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from reid_models import distributed
from reid_models.datasets.sample import I64
from reid_models.loader import EXTRACTION_BATCH, clean_batches


@torch.no_grad()
def extract(
    model: nn.Module,
    encode: Callable[[Tensor], Tensor],
    images: npt.NDArray[np.uint8],
    size: tuple[int, int],
    device: str = "cpu",
    precision: str = "bfloat16",
) -> Tensor:
    """`encode` of every image at (height, width) `size`: (N, D) float32 on the device, the row is the image's place.

    `model` is put into evaluation mode while it works. Several processes divide the images among them.
    """
    was_training = model.training
    model.eval()
    place = torch.device(device)
    own = images if distributed.world_size() == 1 else images[_own_rows(len(images))]
    features = []
    for batch in clean_batches(own, size, place):
        with autocast(place, precision):
            features.append(encode(batch).float())
    model.train(was_training)
    return distributed.gathered(torch.cat(features))[: len(images)]


@torch.no_grad()
def extract_texts(
    model: nn.Module,
    encode: Callable[[Tensor], Tensor],
    token_ids: Tensor,
    device: str = "cpu",
    precision: str = "bfloat16",
) -> Tensor:
    """As `extract`, of every sentence: `token_ids` (N, context length) → (N, D)."""
    was_training = model.training
    model.eval()
    place = torch.device(device)
    own = token_ids if distributed.world_size() == 1 else token_ids[torch.from_numpy(_own_rows(len(token_ids)))]
    features = []
    for batch in own.split(EXTRACTION_BATCH):
        with autocast(place, precision):
            features.append(encode(batch.to(place)).float())
    model.train(was_training)
    return distributed.gathered(torch.cat(features))[: len(token_ids)]


def _own_rows(count: int) -> I64:
    """This process's share of `count` rows. All shares are equally long, so the last one repeats the first rows."""
    part = -(-count // distributed.world_size())
    return np.arange(distributed.rank() * part, (distributed.rank() + 1) * part, dtype=np.int64) % max(count, 1)


def autocast(device: torch.device, precision: str) -> Any:
    """bfloat16 where asked for; its range is that of float32, so no loss needs scaling."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
