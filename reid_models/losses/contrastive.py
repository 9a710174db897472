"""Losses that bring images and sentences together; pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def image_text_loss(
    image_features: Tensor, image_labels: Tensor, text_features: Tensor, text_labels: Tensor, scale: Tensor
) -> Tensor:
    """Symmetric contrastive loss with several positives, the mean of both directions.

    `image_features` (I, D) and `text_features` (T, D) are unit vectors, `image_labels` (I,) and `text_labels` (T,)
    identities, `scale` the inverse temperature. Every sentence of an image's identity is a positive; the logarithm is
    outside the mean over positives, as in supervised contrastive learning (Khosla et al. 2020, L_out) and stage 1 of
    CLIP-ReID. An item without a positive on the other side is left out of its direction.
    """
    similarity = scale * image_features @ text_features.T
    positive = image_labels[:, None] == text_labels[None, :]
    return (_one_way(similarity, positive) + _one_way(similarity.T, positive.T)) / 2


def _one_way(similarity: Tensor, positive: Tensor) -> Tensor:
    counts = positive.sum(dim=1)
    log_share = torch.where(positive, similarity.log_softmax(dim=1), 0.0).sum(dim=1)
    has_positive = counts > 0
    return -(log_share[has_positive] / counts[has_positive]).sum() / has_positive.sum().clamp(min=1)
