"""Losses that shape the appearance space; pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def identity_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy over identities with label smoothing (Szegedy et al. 2016), mean over the batch.

    `logits` is (B, C), `labels` (B,). The target is 1 - `smoothing` for the true class, plus
    `smoothing` / C for every class.
    """
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing)


def batch_hard_triplet_loss(features: Tensor, labels: Tensor, margin: float = 0.3) -> Tensor:
    """Each anchor against its farthest positive and nearest negative (Hermans et al. 2017), mean over the batch.

    `features` is (B, D), not normalised; the distance is Euclidean. `labels` is (B,). An anchor without another image
    of its label counts itself as the positive, at distance 0; every anchor needs a negative.
    """
    distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    same = labels[:, None] == labels[None, :]
    farthest_positive = distances.masked_fill(~same, 0.0).amax(dim=1)
    nearest_negative = distances.masked_fill(same, torch.inf).amin(dim=1)
    return functional.relu(farthest_positive - nearest_negative + margin).mean()
