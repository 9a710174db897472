"""What is minimised: cross entropy of the scores with soft targets, and the boxes' generalised overlap."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from reid_models.detection.assignment import AssignmentConfig, assign
from reid_models.detection.boxes import decode, generalised_overlap


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weight of the boxes against the scores, as in TOOD's successors about five to one."""

    box_weight: float = 5.0
    assignment: AssignmentConfig = field(default_factory=AssignmentConfig)


def detection_losses(
    outputs: Tensor, people: Tensor, doubtful: Tensor, size_px: tuple[int, int], config: LossConfig
) -> dict[str, Tensor]:
    """The terms for the network's `outputs` (B, N, 5); boxes as in `assign`.

    Both are sums over cells, divided by the sum of all score targets, so that a crowd counts no more than one person.
    """
    outputs = outputs.float()
    boxes, logits = decode(outputs, *size_px), outputs[..., 4]
    targets = assign(boxes.detach(), logits.detach().sigmoid(), people, doubtful, size_px, config.assignment)
    total = targets.score.sum().clamp(min=1.0)
    entropy = functional.binary_cross_entropy_with_logits(logits, targets.score, targets.weight, reduction="sum")
    picture, cell = torch.nonzero(targets.score > 0, as_tuple=True)
    wanted = people[picture, targets.person[picture, cell]]
    missing = 1 - generalised_overlap(boxes[picture, cell], wanted)
    box = (missing * targets.score[picture, cell]).sum()
    return {"score": entropy / total, "box": config.box_weight * box / total}
