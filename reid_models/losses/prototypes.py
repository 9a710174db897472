"""Losses against a memory of class centroids and instances; pure functions of tensors.

Features, centroids and slots are unit vectors, labels are rows of the memory. Features with a negative label are left
out of the mean; a batch without any label costs 0. The memory gets no gradient unless it asks for one.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def memory_loss(features: Tensor, labels: Tensor, centroids: Tensor, temperature: float) -> Tensor:
    """-log of a feature's softmax share of its own centroid: L_cen and L_inter of CCAFL, each HCM term of CPCL.

    `features` (B, d), `labels` (B,), `centroids` (K, d). CCAFL uses temperature 0.05, CPCL's line 0.02. The loss of
    ClusterContrast (Dai et al. 2022).
    """
    return _labelled_cross_entropy(features @ centroids.T / temperature, labels)


def hard_instance_loss(features: Tensor, labels: Tensor, slots: Tensor, temperature: float) -> Tensor:
    """L_ins of CCAFL: the least similar instance of the own class against the most similar one of every other class.

    `features` (B, d), `labels` (B,), `slots` (K, S, d) the S instances of each class. The own class enters the softmax
    with the minimum over its slots (hardest positive), each other class with the maximum over its slots (hardest
    negative). Source: the authors' code.
    """
    classes, slots_per_class, width = slots.shape
    similarity = (features @ slots.reshape(-1, width).T).view(-1, classes, slots_per_class)
    own = labels.clamp(min=0)[:, None]
    hardest_positive = similarity.take_along_dim(own[:, :, None], dim=1).amin(dim=2)
    hardest = similarity.amax(dim=2).scatter(1, own, hardest_positive)
    return _labelled_cross_entropy(hardest / temperature, labels)


def icdl_loss(
    features: Tensor, labels: Tensor, centroids: Tensor, slots: Tensor, centroid_share: float, temperature: float
) -> Tensor:
    """L_ICDL of CCAFL: `centroid_share` * L_cen + (1 - `centroid_share`) * L_ins within one camera.

    `features` (B, d), `labels` (B,), `centroids` (K, d), `slots` (K, S, d) of that camera's K classes. The authors'
    code has a share of 0.6 on Market-1501 and DukeMTMC-reID and 0 on MSMT17, where only the instances speak.
    """
    by_centroid = memory_loss(features, labels, centroids, temperature)
    by_instance = hard_instance_loss(features, labels, slots, temperature)
    return centroid_share * by_centroid + (1.0 - centroid_share) * by_instance


def _labelled_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    total = functional.cross_entropy(logits, labels.clamp(min=-1), ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)
