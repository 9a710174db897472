"""Features of a whole training or test set, in order, without augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from itertools import repeat
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
    encode: Callable[..., Tensor],
    images: npt.NDArray[np.uint8],
    size: tuple[int, int],
    device: str = "cpu",
    precision: str = "bfloat16",
    cameras: I64 | None = None,
) -> Tensor:
    """`encode` of every image at (height, width) `size`: (N, D) float32 on the device, the row is the image's place.

    `encode` takes a batch of images and, where `cameras` (N,) are given, theirs.

    `model` is put into evaluation mode while it works. Several processes divide the images among them.
    """
    was_training = model.training
    model.eval()
    place = torch.device(device)
    rows = None if distributed.world_size() == 1 else _own_rows(len(images))
    own = images if rows is None else images[rows]
    beside: Iterable[tuple[Tensor, ...]] = repeat(())
    if cameras is not None:
        numbers = torch.from_numpy(cameras if rows is None else cameras[rows]).to(place)
        beside = ((part,) for part in numbers.split(EXTRACTION_BATCH))
    features = []
    for batch, known in zip(clean_batches(own, size, place), beside, strict=False):
        with autocast(place, precision):
            features.append(encode(batch, *known).float())
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
