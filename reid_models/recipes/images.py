"""Decoded images of a recipe's sets, made once by one process and mapped by all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reid_models import distributed
from reid_models.datasets.sample import ImageSample
from reid_models.datasets.training_sets import U8, decoded_images


def kept_images(samples: Sequence[ImageSample], size: tuple[int, int], cache: Path | None) -> U8:
    """(N, height, width, 3) RGB. Of several processes the first decodes while the others wait."""
    if cache is None:
        return decoded_images(samples, size)
    if not distributed.is_main():
        distributed.wait_for_all()
    images = decoded_images(samples, size, cache)
    if distributed.is_main():
        distributed.wait_for_all()
    return images
