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


def batch_hard_triplet_loss(features: Tensor, labels: Tensor, margin: float | None = 0.3) -> Tensor:
    """Each anchor against its farthest positive and nearest negative (Hermans et al. 2017), mean over the anchors.

    `features` is (B, D) and is not normalised here; the distance is Euclidean. `labels` is (B,). Without a `margin` the
    soft one is used, log(1 + exp(positive - negative)). An anchor without another image of its label counts itself as
    the positive, at distance 0. Images with a negative label are neither anchors nor negatives, and an anchor without a
    negative is left out. Two images at the same place have the subgradient 0.
    """
    labelled = labels >= 0
    same = labels[:, None] == labels[None, :]
    with torch.no_grad():
        distances = torch.cdist(features, features)
        positives = distances.masked_fill(~same, -torch.inf).argmax(dim=1)
        negatives = distances.masked_fill(same | ~labelled, torch.inf).argmin(dim=1)
    is_anchor = labelled & (labelled & ~same).any(dim=1)
    return _triplet(features, features[positives], features[negatives], is_anchor, margin)


def memory_triplet_loss(features: Tensor, labels: Tensor, centroids: Tensor, margin: float | None = 0.3) -> Tensor:
    """Each feature against its own centroid and the nearest other one, mean over the features.

    `features` (B, d) and `centroids` (K, d) are unit vectors, `labels` (B,) rows of `centroids`; the distance is
    Euclidean, `margin` as in `batch_hard_triplet_loss`. Features with a negative label are left out, and where there is
    one centroid only the loss is 0. Source: CCAFL's intra-camera stage, in the authors' code (the paper's figure does
    not show this term).
    """
    own = labels.clamp(min=0)
    with torch.no_grad():
        others = torch.cdist(features, centroids).scatter(1, own[:, None], torch.inf)
        nearest = others.argmin(dim=1)
    is_anchor = (labels >= 0) & (len(centroids) > 1)
    return _triplet(features, centroids[own], centroids[nearest], is_anchor, margin)


def _triplet(anchors: Tensor, positives: Tensor, negatives: Tensor, is_anchor: Tensor, margin: float | None) -> Tensor:
    # Only the chosen pairs are differentiated: the gradient of all B x B distances needs B x B x D numbers on a GPU.
    # The norm of a difference has the subgradient 0 where both coincide; the root of a squared distance has none.
    gaps = torch.linalg.vector_norm(anchors - positives, dim=1) - torch.linalg.vector_norm(anchors - negatives, dim=1)
    costs = functional.softplus(gaps) if margin is None else functional.relu(gaps + margin)
    return costs[is_anchor].sum() / is_anchor.sum().clamp(min=1)
