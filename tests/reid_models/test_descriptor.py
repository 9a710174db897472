"""Vectors are compared by the measure that they were made for."""

from __future__ import annotations

import numpy as np
import torch

from reid_models.descriptor import Descriptor


def descriptor(metric: str) -> Descriptor:
    return Descriptor(torch.nn.Identity(), lambda images: images.flatten(1), metric)  # type: ignore[arg-type]


QUERY, GALLERY = torch.tensor([[1.0, 1.0]]), torch.tensor([[9.0, 9.0], [1.0, 0.0], [1.0, 1.0]])


def test_a_cosine_descriptor_ignores_length() -> None:
    np.testing.assert_allclose(descriptor("cosine").similarity(QUERY, GALLERY), [[1.0, 0.5**0.5, 1.0]], rtol=1e-6)


def test_a_euclidean_descriptor_does_not() -> None:
    np.testing.assert_allclose(descriptor("euclidean").similarity(QUERY, GALLERY), [[-(128.0**0.5), -1.0, 0.0]])


def test_images_are_described_in_their_order() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 2, 3), dtype=np.uint8)
    whole = descriptor("cosine").of_images(images, (4, 2), precision="float32")
    alone = descriptor("cosine").of_images(images[3:4], (4, 2), precision="float32")
    assert whole.shape == (5, 24)
    torch.testing.assert_close(whole[3:4], alone)
