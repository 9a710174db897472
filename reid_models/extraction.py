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
from reid_models.loader import clean_batches


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
    part = -(-len(images) // distributed.world_size())
    # Every process needs equally many rows, so the last one repeats the first images.
    rows = np.arange(distributed.rank() * part, (distributed.rank() + 1) * part) % max(len(images), 1)
    own = images if distributed.world_size() == 1 else images[rows]
    features = []
    for batch in clean_batches(own, size, place):
        with autocast(place, precision):
            features.append(encode(batch).float())
    model.train(was_training)
    return distributed.gathered(torch.cat(features))[: len(images)]


def autocast(device: torch.device, precision: str) -> Any:
    """bfloat16 where asked for; its range is that of float32, so no loss needs scaling."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
