"""Whole sets of images are described in order, as each image is alone."""

from __future__ import annotations

import numpy as np
import torch

from reid_models.descriptor import Descriptor


def test_images_are_described_in_their_order() -> None:
    descriptor = Descriptor(torch.nn.Identity(), lambda images: images.flatten(1), "cosine")
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 2, 3), dtype=np.uint8)
    whole = descriptor.of_images(images, (4, 2), precision="float32")
    alone = descriptor.of_images(images[3:4], (4, 2), precision="float32")
    assert whole.shape == (5, 24)
    torch.testing.assert_close(whole[3:4], alone)
