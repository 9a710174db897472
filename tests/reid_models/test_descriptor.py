"""Whole sets of images are described in order, as each image is alone."""

from __future__ import annotations

import numpy as np
import torch

from reid_models.descriptor import Descriptor
from reid_models.loader import EXTRACTION_BATCH


def test_images_are_described_in_their_order() -> None:
    descriptor = Descriptor(torch.nn.Identity(), lambda images: images.flatten(1), "cosine")
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 2, 3), dtype=np.uint8)
    whole = descriptor.of_images(images, (4, 2), precision="float32")
    alone = descriptor.of_images(images[3:4], (4, 2), precision="float32")
    assert whole.shape == (5, 24)
    torch.testing.assert_close(whole[3:4], alone)


def test_every_image_comes_with_its_camera() -> None:
    count = EXTRACTION_BATCH + 3
    descriptor = Descriptor(torch.nn.Identity(), lambda images, cameras: cameras[:, None], "cosine")
    images, cameras = np.zeros((count, 4, 2, 3), np.uint8), np.arange(count)
    assert descriptor.of_images(images, (4, 2), cameras=cameras).flatten().tolist() == cameras.tolist()
