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
    return truth_matching_loss(image_features, text_features, image_labels[:, None] == text_labels[None, :], scale)


def truth_matching_loss(images: Tensor, texts: Tensor, is_true: Tensor, scale: Tensor) -> Tensor:
    """As `image_text_loss`, where `is_true[i, j]` says that sentence j is true of image i, whoever it is about.

    A description such as "a man in black" is true of many people; held against them as false, it teaches the model
    to tell people apart by what the sentence does not say.
    """
    similarity = scale * images @ texts.T
    return (_one_way(similarity, is_true) + _one_way(similarity.T, is_true.T)) / 2


def prompt_contrastive_loss(images: Tensor, texts: Tensor, labels: Tensor) -> Tensor:
    """L_i2t + L_t2i, which teach the prompts in stage 1 of CLIP-ReID (Li et al. 2023), in CCAFL and in CLIP-FGDI.

    `images` (B, D) are image features, `texts` (B, D) the features of each image's own prompt, `labels` (B,) its class.
    Every item of the batch with the same label is a positive, its own text among them, and the mean over positives
    stands outside the logarithm. Similarities are raw dot products without temperature, as in the authors' code. Items
    with a negative label take no part. CCAFL calls this once for each camera's part of the batch and adds up.
    """
    kept = labels >= 0
    similarity = images[kept] @ texts[kept].T
    positive = labels[kept][:, None] == labels[kept][None, :]
    return _one_way(similarity, positive) + _one_way(similarity.T, positive)


def info_nce_loss(images: Tensor, texts: Tensor, temperature: float | Tensor) -> Tensor:
    """Symmetric InfoNCE over pairs (Radford et al. 2021, figure 3), the mean of both directions.

    `images` and `texts` (B, D) are unit vectors; row i of one belongs to row i of the other and to no other row.
    """
    similarity = images @ texts.T / temperature
    positive = torch.eye(len(images), dtype=torch.bool, device=images.device)
    return (_one_way(similarity, positive) + _one_way(similarity.T, positive)) / 2


def distribution_matching_loss(
    images: Tensor, texts: Tensor, is_match: Tensor, temperature: float | Tensor, epsilon: float = 1e-8
) -> Tensor:
    """KL(p || q) of the batch's similarities p against its matches q, the sum of both directions.

    This is SDM of IRRA (Jiang & Ye 2023): p is the softmax of the similarities over `temperature`,
    q the row of `is_match` (B, B) divided by its sum, `epsilon` stands inside the logarithm of q. `images` and `texts`
    (B, D) are unit vectors; `is_match[i, j]` says that text j shows the person of image i. CPCL's instance-level term
    is this one with matches by pair, image and pseudo-label. A row without a match is left out of its direction.
    """
    similarity = images @ texts.T / temperature
    return _divergence(similarity, is_match, epsilon) + _divergence(similarity.T, is_match.T, epsilon)


def _divergence(similarity: Tensor, is_match: Tensor, epsilon: float) -> Tensor:
    counts = is_match.sum(dim=1)
    target = is_match.to(similarity.dtype) / counts.clamp(min=1)[:, None]
    log_share = similarity.log_softmax(dim=1)
    divergence = (log_share.exp() * (log_share - (target + epsilon).log())).sum(dim=1)
    has_match = counts > 0
    return divergence[has_match].sum() / has_match.sum().clamp(min=1)


def _one_way(similarity: Tensor, positive: Tensor) -> Tensor:
    counts = positive.sum(dim=1)
    log_share = torch.where(positive, similarity.log_softmax(dim=1), 0.0).sum(dim=1)
    has_positive = counts > 0
    return -(log_share[has_positive] / counts[has_positive]).sum() / has_positive.sum().clamp(min=1)
