"""What a trained model says of an image, and how two such vectors are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from reid_models.datasets.sample import I64
from reid_models.datasets.training_sets import U8
from reid_models.evaluation import Metric
from reid_models.extraction import extract
from reid_models.trainer import Method


@dataclass(frozen=True, slots=True, eq=False)
class Descriptor:
    """`describe` takes normalised images (B, 3, H, W) to vectors (B, D) that are meant for `metric` alone.

    Over an encoder with camera vectors it also takes the images' cameras (B,).
    """

    model: nn.Module
    describe: Callable[..., Tensor]
    metric: Metric

    def of_images(
        self, images: U8, size: tuple[int, int], device: str = "cpu", precision: str = "bfloat16",
        cameras: I64 | None = None,
    ) -> Tensor:  # fmt: skip
        """(N, D) float32 of all images, unchanged, at (height, width) `size`; `cameras` (N,) from 0."""
        return extract(self.model, self.describe, images, size, device, precision, cameras)


@dataclass(frozen=True, slots=True)
class DescribingMethod(Method):
    """A method that says how its model is to be evaluated: `score_image_features(..., descriptor.metric)`."""

    descriptor: Descriptor
