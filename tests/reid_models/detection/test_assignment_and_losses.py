"""Which cells answer for whom, and what that costs, against loops that follow the text."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pipeline.boxes import overlaps
from reid_models.detection.assignment import AssignmentConfig, Targets, assign
from reid_models.detection.boxes import cells, decode, generalised_overlap
from reid_models.detection.losses import LossConfig, detection_losses

SIZE = (64, 96)
CONFIG = AssignmentConfig(cells_per_person=4)
PEOPLE = torch.tensor(
    [
        [[10.0, 4, 30, 60], [22, 6, 44, 58], [70, 30, 75, 36]],
        [[50, 10, 80, 63], [0, 0, 0, 0], [0, 0, 0, 0]],
    ]
)
DOUBTFUL = torch.tensor([[[60.0, 0, 96, 20]], [[0, 0, 0, 0]]])


def outputs_of(seed: int) -> torch.Tensor:
    return torch.randn(2, len(cells(*SIZE)[0]), 5, generator=torch.Generator().manual_seed(seed))


def naive_assignment(
    boxes: torch.Tensor, scores: torch.Tensor
) -> tuple[dict[tuple[int, int], int], np.ndarray, np.ndarray]:
    """The person of each answering cell, score targets and weights, by loops."""
    corners, strides = (values.numpy() for values in cells(*SIZE))
    centres = corners + strides / 2
    chosen: dict[tuple[int, int], int] = {}
    target = np.zeros(scores.shape)
    weight = np.ones(scores.shape)
    for picture in range(len(boxes)):
        overlap = overlaps(PEOPLE[picture].double().numpy(), boxes[picture].double().numpy())
        alignment = scores[picture].double().numpy() ** CONFIG.score_power * overlap**CONFIG.overlap_power
        wanted: dict[int, list[int]] = {}
        for person, box in enumerate(PEOPLE[picture].tolist()):
            if box[2] <= box[0]:
                continue
            middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            may = [
                cell
                for cell, (x, y) in enumerate(centres)
                if (box[0] < x < box[2] and box[1] < y < box[3])
                or max(abs(x - middle[0]), abs(y - middle[1])) <= CONFIG.reach * strides[cell, 0]
            ]
            best = sorted(may, key=lambda cell: -alignment[person, cell])[: CONFIG.cells_per_person]
            for cell in best:
                wanted.setdefault(cell, []).append(person)
        for cell, rivals in wanted.items():
            chosen[picture, cell] = max(rivals, key=lambda person: overlap[person, cell])
        for person in range(PEOPLE.shape[1]):
            own = [cell for (p, cell), who in chosen.items() if p == picture and who == person]
            if own:
                most = max(alignment[person, cell] for cell in own)
                for cell in own:
                    target[picture, cell] = alignment[person, cell] / most * max(overlap[person, c] for c in own)
        for cell, (x, y) in enumerate(centres):
            in_doubt = any(b[0] < x < b[2] and b[1] < y < b[3] for b in DOUBTFUL[picture].tolist())
            if in_doubt and target[picture, cell] == 0:
                weight[picture, cell] = 0
    return chosen, target, weight


def targets_of(outputs: torch.Tensor) -> Targets:
    return assign(decode(outputs, *SIZE), outputs[..., 4].sigmoid(), PEOPLE, DOUBTFUL, SIZE, CONFIG)


@pytest.mark.parametrize("seed", range(4))
def test_targets_are_those_of_loops(seed: int) -> None:
    outputs = outputs_of(seed)
    chosen, score, weight = naive_assignment(decode(outputs, *SIZE), outputs[..., 4].sigmoid())
    targets = targets_of(outputs)
    np.testing.assert_allclose(targets.score.numpy(), score, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(targets.weight.numpy(), weight)
    for (picture, cell), person in chosen.items():
        if score[picture, cell] > 1e-6:
            assert targets.person[picture, cell] == person


def test_a_person_smaller_than_a_cell_is_answered_for() -> None:
    targets = targets_of(outputs_of(0))
    small = (targets.person[0] == 2) & (targets.score[0] > 0)
    assert small.any()


def test_a_picture_without_people_asks_every_cell_for_nothing() -> None:
    outputs = outputs_of(1)
    nobody = torch.zeros(2, 1, 4)
    targets = assign(decode(outputs, *SIZE), outputs[..., 4].sigmoid(), nobody, nobody, SIZE, CONFIG)
    assert targets.score.eq(0).all()
    assert targets.weight.eq(1).all()
    terms = detection_losses(outputs, nobody, nobody, SIZE, LossConfig())
    assert terms["box"].item() == 0


@pytest.mark.parametrize("seed", range(3))
def test_losses_are_those_of_loops(seed: int) -> None:
    outputs = outputs_of(seed)
    boxes = decode(outputs, *SIZE)
    targets = targets_of(outputs)
    entropy = box = 0.0
    for picture in range(2):
        for cell in range(outputs.shape[1]):
            wanted = targets.score[picture, cell].item()
            probability = 1 / (1 + math.exp(-outputs[picture, cell, 4].item()))
            entropy -= targets.weight[picture, cell].item() * (
                wanted * math.log(probability) + (1 - wanted) * math.log(1 - probability)
            )
            if wanted > 0:
                person = PEOPLE[picture, targets.person[picture, cell]]
                box += wanted * (1 - generalised_overlap(boxes[picture, cell][None], person[None]).item())
    total = max(targets.score.sum().item(), 1.0)
    terms = detection_losses(outputs, PEOPLE, DOUBTFUL, SIZE, LossConfig(3.0, CONFIG))
    assert terms["score"].item() == pytest.approx(entropy / total, rel=1e-3)
    assert terms["box"].item() == pytest.approx(3 * box / total, rel=1e-3)


def test_steps_downhill_bring_boxes_onto_their_people() -> None:
    outputs = outputs_of(2).requires_grad_()
    for step in np.linspace(0.2, 0.0, 400):  # it must shrink, or the boxes swing about their people
        terms = detection_losses(outputs, PEOPLE, DOUBTFUL, SIZE, LossConfig())
        (gradient,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), outputs)
        outputs = (outputs - step * gradient).detach().requires_grad_()
    best = targets_of(outputs.detach()).score.amax(1)
    assert (best > 0.99).all()
