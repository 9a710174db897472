"""Losses that hide the camera or the domain; pure functions of tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class AdversarialConfig:
    """Constants of ICAL; the defaults are those of the authors' code for every data set."""

    margin: float  # radians added to the angle of the own class; 0.7 Market-1501, 0.3 DukeMTMC-reID, 0.5 MSMT17
    scale: float = 16.0  # inverse temperature of the cosines
    same_camera_hardening: float = 0.2  # t: other classes of the own camera count with (1 + t) * cosine + t
    smoothing: float = 0.8  # epsilon: weight shared by all positive classes, the own one included


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """`x` itself, of any shape; its gradient comes back multiplied by -`strength` (Ganin & Lempitsky 2015).

    CLIP-FGDI sets 0.1 before the domain classifier of its domain-invariant prompts.
    """
    constant = x.detach()
    return constant - strength * (x - constant)  # the bracket is exactly 0, only its gradient counts


def class_loss(features: Tensor, weights: Tensor, labels: Tensor, scale: float = 16.0) -> Tensor:
    """L_GID of CCAFL, which teaches the classifier that ICAL plays against: cross-entropy on `scale` * cosine.

    `features` (B, d), `weights` (G, d) one row for each (camera, person), `labels` (B,) rows of `weights`, none
    negative; both are normalised here. The caller passes the features detached: only the classifier learns.
    """
    return functional.cross_entropy(scale * _cosine(features, weights), labels)


def positive_classes(classes: Tensor, class_cameras: Tensor, class_components: Tensor) -> Tensor:
    """(B, G) bool: which classes (camera, person) may be the person of each image.

    `classes` (B,) is the class of each image, `class_cameras` (G,) and `class_components` (G,) the camera and the
    associated component of each class, -1 for a class without a partner. Positive are the own class and the classes of
    its component in other cameras. A chain of associations may bring two classes of one camera into a component; they
    were labelled as different people, so they stay negatives of each other.
    """
    component = class_components[classes][:, None]
    associated = (component >= 0) & (component == class_components) & ~_same_camera(classes, class_cameras)
    return associated | _own_class(classes, len(class_cameras))


def adversarial_loss(
    features: Tensor,
    weights: Tensor,
    classes: Tensor,
    class_cameras: Tensor,
    class_components: Tensor,
    config: AdversarialConfig,
) -> Tensor:
    """L_ICAL of CCAFL: a feature has to look equally like its person's classes in all cameras, mean over the batch.

    `features` (B, d) and `weights` (G, d) are normalised here, the other shapes are those of `positive_classes`; no
    class is negative. With z the cosines, z of the own class becomes cos(angle + margin) as in ArcFace (Deng et al.
    2019), and z of the other classes of the same camera (1 + t) z + t, as MV-Softmax (Wang et al. 2020) does for hard
    negatives. Each positive j stands against the negatives alone, p_j = e^(s z_j) / (e^(s z_j) + sum over negatives of
    e^(s z_k)), and the loss is -(1 - epsilon) log p_own - epsilon * mean over positives of log p_j: the
    clothes-adversarial loss of Gu et al. (2022) with classes (camera, person) in place of clothes.

    Source: the authors' code. Their gradient of the weights is thrown away, so callers pass them detached. An image
    whose class has no component keeps its own class as the only positive; the authors drop such images beforehand.
    """
    own = _own_class(classes, len(weights))
    positive = positive_classes(classes, class_cameras, class_components)
    cosine = _cosine(features, weights)
    rival = _same_camera(classes, class_cameras) & ~own
    hardening = config.same_camera_hardening
    logits = config.scale * torch.where(
        own, _add_angle(cosine, config.margin), torch.where(rival, (1.0 + hardening) * cosine + hardening, cosine)
    )
    rest = logits.masked_fill(positive, -torch.inf).logsumexp(dim=1, keepdim=True)
    costs = functional.softplus(rest - logits)  # -log p_j
    shares = config.smoothing * positive / positive.sum(dim=1, keepdim=True) + (1.0 - config.smoothing) * own
    return (shares * costs).sum(dim=1).mean()


def guidance_loss(images: Tensor, invariant: Tensor, relevant: Tensor, sign: int = 1) -> Tensor:
    """APN of CLIP-FGDI: log(1 + exp(cos(image, relevant) - cos(image, invariant))), mean over the batch.

    `images` (B, D), `invariant` (B, D) the texts of each image's identity, `relevant` (B, D) those of its identity and
    domain; all are normalised here. `sign` 1 is the direction of the paper's abstract and figure: nearer to the
    invariant text, away from the relevant one. -1 is what the released code does, which puts similarities where its
    formula expects distances; the published figures were very probably made so.
    """
    gap = functional.cosine_similarity(images, relevant) - functional.cosine_similarity(images, invariant)
    return functional.softplus(sign * gap).mean()


def _cosine(features: Tensor, weights: Tensor) -> Tensor:
    return functional.normalize(features, dim=1) @ functional.normalize(weights, dim=1).T


def _add_angle(cosine: Tensor, angle: float) -> Tensor:
    # The root of 0 has no gradient, and rounding may push a cosine beyond 1.
    sine = (1.0 - cosine.square()).clamp(min=torch.finfo(cosine.dtype).eps).sqrt()
    return cosine * math.cos(angle) - sine * math.sin(angle)


def _own_class(classes: Tensor, count: int) -> Tensor:
    return classes[:, None] == torch.arange(count, device=classes.device)


def _same_camera(classes: Tensor, class_cameras: Tensor) -> Tensor:
    return class_cameras[classes][:, None] == class_cameras
