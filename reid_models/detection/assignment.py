"""Which cells answer for which person: task-aligned assignment (Feng et al. 2021, "TOOD", section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reid_models.detection.boxes import cells, pairwise_overlaps

_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class AssignmentConfig:
    """A cell's alignment with a person is score^`score_power` * overlap^`overlap_power`; the best cells are chosen."""

    cells_per_person: int = 10
    score_power: float = 0.5
    overlap_power: float = 4.0
    reach: float = 1.0  # cells this many strides from a person's centre may answer too: a small person holds no cell


@dataclass(frozen=True, slots=True)
class Targets:
    """What each cell should say. A cell with `score` 0 shows nobody; `weight` is 0 where nothing is known."""

    score: Tensor  # (B, N) how well the cell should think of its box, at most the overlap reached so far
    weight: Tensor  # (B, N) of the score's loss
    person: Tensor  # (B, N) place of the cell's person; 0 where there is none


@torch.no_grad()
def assign(
    boxes: Tensor, scores: Tensor, people: Tensor, doubtful: Tensor, size_px: tuple[int, int], config: AssignmentConfig
) -> Targets:
    """Predicted `boxes` (B, N, 4) and `scores` (B, N) against `people` (B, M, 4) and `doubtful` (B, K, 4).

    Rows of zeros fill up people and doubtful boxes. `size_px` is height, width of the pictures. A cell that two people
    want goes to the one that its box overlaps more.
    """
    corners, strides = (values.to(boxes.device) for values in cells(*size_px))
    centres = corners + strides / 2
    is_person = (people[..., 2:] > people[..., :2]).all(-1)  # (B, M)
    overlap = pairwise_overlaps(people, boxes)  # (B, M, N)
    near = (_middle(people)[:, :, None] - centres).abs().amax(-1) <= config.reach * strides[:, 0]
    may_answer = (_inside(people, centres) | near) & is_person[..., None]
    alignment = scores[:, None] ** config.score_power * overlap**config.overlap_power * may_answer
    chosen = _largest(alignment, config.cells_per_person) & may_answer
    # One person per cell: where several want it, only the greatest overlap stays.
    rivals = torch.where(chosen, overlap, -1.0)
    person = rivals.argmax(1)  # (B, N)
    chosen &= torch.zeros_like(chosen).scatter_(1, person[:, None], True)
    alignment = alignment * chosen
    best_overlap = (overlap * chosen).amax(2, keepdim=True)
    share = alignment / alignment.amax(2, keepdim=True).clamp(min=_TINY**2)
    score = (share * best_overlap).amax(1)
    weight = torch.where((score > 0) | ~_inside(doubtful, centres).any(1), 1.0, 0.0)
    return Targets(score, weight, person)


def _inside(boxes: Tensor, points: Tensor) -> Tensor:
    """(B, M, 4), (N, 2) → (B, M, N)."""
    x, y = points[:, 0], points[:, 1]
    left, top, right, bottom = (side[..., None] for side in boxes.unbind(-1))
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def _largest(values: Tensor, count: int) -> Tensor:
    """(..., N) → where the `count` greatest values of the last axis are."""
    places = values.topk(min(count, values.shape[-1]), dim=-1).indices
    return torch.zeros_like(values, dtype=torch.bool).scatter_(-1, places, True)


def _middle(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2
