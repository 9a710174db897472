from __future__ import annotations

import pytest

from pipeline.contracts import GlobalId
from services.evaluation.identity import JudgedTracklet
from services.evaluation.identity_hota import score_hota

needs_trackeval = pytest.mark.skipif(
    score_hota([JudgedTracklet("gate", 1, 1, GlobalId(1))]) is None,
    reason="TrackEval is not installed: pip install --no-deps trackeval pycocotools tabulate",
)


def judged(*pairs: tuple[int | None, int | None]) -> list[JudgedTracklet]:
    return [JudgedTracklet("gate", 1, true, None if given is None else GlobalId(given)) for true, given in pairs]


@needs_trackeval
def test_one_person_in_two_identities_costs_association() -> None:
    score = score_hota(judged((1, 10), (1, 10), (1, 11), (1, 11)))
    assert score is not None
    assert score.detection_accuracy == 1.0
    assert score.association_accuracy == pytest.approx(0.5)
    assert score.hota == pytest.approx(0.5**0.5)


@needs_trackeval
def test_a_tracklet_without_identity_costs_detection() -> None:
    score = score_hota(judged((1, 10), (1, None)))
    assert score is not None and score.detection_accuracy == pytest.approx(0.5)


def test_there_is_no_hota_of_nothing() -> None:
    assert score_hota([]) is None
