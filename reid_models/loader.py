"""From image bytes to a batch on the device; for a GPU the next one is made while the present one is learnt from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reid_models import distributed
from reid_models.datasets.sample import I64
from reid_models.transforms import IMAGENET, AugmentConfig, augment, resize

EXTRACTION_BATCH = 256


@dataclass(frozen=True, slots=True)
class LoaderConfig:
    """Early epochs may run at smaller images: most of what they teach does not need the details."""

    sizes: tuple[tuple[int, tuple[int, int]], ...]  # (from this epoch on, (height, width)), the first from 0
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def size_at(self, epoch: int) -> tuple[int, int]:
        """The (height, width) in force in `epoch`."""
        return [size for start, size in self.sizes if start <= epoch][-1]


def training_batches(
    images: npt.NDArray[np.uint8], batches: Sequence[I64], config: LoaderConfig, epoch: int, seed: Sequence[int],
    device: torch.device,
) -> Iterator[Tensor]:  # fmt: skip
    """This process's share of every batch, augmented: (b, 3, height, width) each.

    The changes of a batch depend on `seed`, its place and the process alone, never on what was drawn before: a run that
    was resumed sees the same images as one that was not.
    """
    size = config.size_at(epoch)

    def make(place: int) -> Tensor:
        generator = torch.Generator().manual_seed(_seed(*seed, place, distributed.rank()))
        indices = distributed.share(batches[place])
        return prepare(np.asarray(images[indices]), size, config.augment, generator)

    if device.type == "cpu":  # a second thread would take turns with the first on the same cores
        yield from map(make, range(len(batches)))
        return
    with ThreadPoolExecutor(1, "loader") as pool:
        waiting = pool.submit(make, 0) if batches else None
        for place in range(len(batches)):
            assert waiting is not None
            ready = waiting.result()
            waiting = pool.submit(make, place + 1) if place + 1 < len(batches) else None
            yield ready.to(device, non_blocking=True)


def clean_batches(images: npt.NDArray[np.uint8], size: tuple[int, int], device: torch.device) -> Iterator[Tensor]:
    """All images in order and unchanged, as for serving."""
    for start in range(0, len(images), EXTRACTION_BATCH):
        yield (
            IMAGENET(resized(np.array(images[start : start + EXTRACTION_BATCH]), size))
            .contiguous(memory_format=torch.channels_last)
            .to(device)
        )


def prepare(
    images: npt.NDArray[np.uint8], size: tuple[int, int], config: AugmentConfig, generator: torch.Generator
) -> Tensor:
    """(B, H, W, 3) RGB bytes → (B, 3, height, width) augmented, normalised as for ImageNet, channels last.

    A tower with another normalisation changes it itself (`PersonOptions`), in training as in serving.
    """
    return IMAGENET(augment(resized(images, size), config, generator)).contiguous(memory_format=torch.channels_last)


def resized(images: npt.NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """(B, H, W, 3) bytes → (B, 3, height, width) float32, 0 to 255."""
    return resize(torch.from_numpy(images).permute(0, 3, 1, 2).float(), size)


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
