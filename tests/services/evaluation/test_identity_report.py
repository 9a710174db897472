from __future__ import annotations

import json

import pytest

from pipeline.contracts import GlobalId, IdentityEventKind
from services.evaluation.identity import JudgedTracklet
from services.evaluation.identity_answers import Statement, TrueTracklet
from services.evaluation.identity_hota import score_hota
from services.evaluation.identity_report import identity_report
from tests.fakes import embedding

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


def test_a_report_is_plain_numbers_of_the_final_identities() -> None:
    tracklets = [TrueTracklet(embedding(track_id=track), 1, 4.0) for track in range(2)]
    names = [seen.embedding.tracklet_id for seen in tracklets]
    report = identity_report(
        tracklets,
        [
            Statement(5.0, IdentityEventKind.ASSIGNED, GlobalId(1), (names[0],)),
            Statement(5.0, IdentityEventKind.ASSIGNED, GlobalId(2), (names[1],)),
            Statement(9.0, IdentityEventKind.MERGED, GlobalId(1), from_id=GlobalId(2)),
        ],
    )
    figures = json.loads(json.dumps(report.figures()))
    assert (figures["idf1"], figures["identities"], figures["merges_per_1000"]) == (1.0, 1, 500.0)
