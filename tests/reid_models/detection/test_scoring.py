"""The score from which on a box counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.contracts import Detections
from pipeline.errors import ConfigurationError
from reid_models.detection.boxes import cells
from reid_models.detection.scenes import NOBODY
from reid_models.detection.scoring import choose_score, find

PERSON = np.array([[10, 10, 30, 60]], np.float32)
FAR = np.array([[100, 10, 120, 60]], np.float32)


def seen(*entries: tuple[np.ndarray, float]) -> Detections:
    return Detections(np.concatenate([box for box, _ in entries]), np.array([s for _, s in entries], np.float32))


def test_the_chosen_score_lets_the_right_boxes_in_and_the_wrong_ones_out() -> None:
    found = [seen((PERSON, 0.9), (FAR, 0.2)), seen((PERSON, 0.4), (FAR, 0.3))]
    choice = choose_score(found, [PERSON, PERSON], [NOBODY, NOBODY])
    assert choice.sure_score == pytest.approx(0.4)
    assert (choice.f1, choice.precision, choice.recall, choice.people) == (1, 1, 1, 2)


def test_the_second_box_of_a_person_is_wrong() -> None:
    choice = choose_score([seen((PERSON, 0.9), (PERSON, 0.8))], [np.concatenate([PERSON, FAR])], [NOBODY])
    assert choice.sure_score == pytest.approx(0.9)
    assert choice.f1 == pytest.approx(2 / 3)


def test_a_box_on_a_doubtful_place_counts_neither_way() -> None:
    choice = choose_score([seen((FAR, 0.9), (PERSON, 0.5))], [PERSON], [FAR])
    assert (choice.f1, choice.precision) == (1, 1)


def test_a_network_that_finds_nobody_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="found none of 1 people"):
        choose_score([seen((FAR, 0.9))], [PERSON], [NOBODY])


class OneCell(nn.Module):
    """Sees a person of 16 x 32 px in the cell of stride 8 at row 2, column 3, whatever it is shown."""

    def forward(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[2:]
        outputs = torch.full((len(pixels), len(cells(height, width)[0]), 5), -9.0)
        cell = 2 * (width // 8) + 3
        outputs[:, cell] = torch.tensor([0.5, 0.5, np.log(2), np.log(4), 3.0])
        return outputs


def test_boxes_are_found_in_the_pixels_of_the_frame() -> None:
    found = find(OneCell(), np.zeros((128, 192, 3), np.uint8), (64, 96))
    np.testing.assert_allclose(found.boxes, [[40, 8, 72, 72]], rtol=1e-4)
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-3)))
