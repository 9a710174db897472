"""Why a tracklet belongs to its person, without a technical word."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.adapters.explanations import Explanation, Reasoned
from pipeline.adapters.stays import StoredTracklet
from pipeline.contracts import CameraId, GlobalId, IdentityEventKind, TrackletId
from pipeline.decisions import CandidateEvidence, Correction, CorrectionKind, CorrectionRequest, Evidence
from services.api.plain_reasons import plain_reasons
from services.api.words import moment_in_words
from tests.fakes import event
from tests.small_site import NOW

NAME = TrackletId("gate/b1/900/0")
SEEN = StoredTracklet(NAME, CameraId("gate"), NOW - 30.0, NOW - 26.0, 20, GlobalId(1), 0.93, ())
OWN = CandidateEvidence(
    global_id=1,
    camera_id="lobby",
    similarity=0.71,
    appearance_log_odds=3.25,
    gap_s=23.4,
    transit_log_odds=1.5,
    probability=0.87,
)
OTHER = CandidateEvidence(
    global_id=2,
    camera_id="gate",
    similarity=0.9,
    appearance_log_odds=5.0,
    probability=0.0,
    constraint="elsewhere in this camera at the same time",
)
UNUSUAL = OWN.model_copy(
    update={"global_id": 3, "appearance_log_odds": -1.0, "transit_log_odds": -2.0, "probability": 0.004}
)
STILL_THERE = OWN.model_copy(update={"global_id": 7, "gap_s": -2.0, "transit_log_odds": 0.0})


def weighed(*candidates: CandidateEvidence) -> Evidence:
    return Evidence(calibration=3, candidates=candidates, new_probability=0.13, threshold=0.8)


def told(*reasoned: Reasoned, laws: tuple[Correction, ...] = ()) -> list[str]:
    now = datetime.fromtimestamp(NOW, UTC)
    found = Explanation(SEEN, reasoned[0], reasoned[1:], laws)
    return plain_reasons(found, lambda at: moment_in_words(at, now))[1:]


def decided(evidence: Evidence | None, confidence: float = 0.87, **changes: object) -> Reasoned:
    return Reasoned(event(1).model_copy(update={"decided_at": NOW, "confidence": confidence} | changes), evidence)


def moved(kind: IdentityEventKind, evidence: Evidence | None, confidence: float, reason: str = "log-odds") -> Reasoned:
    changes = {"kind": kind, "from_global_id": 4, "reason": reason}
    return decided(evidence, confidence, **changes)


@pytest.mark.parametrize(
    ("reasoned", "sentences"),
    [
        pytest.param(
            decided(weighed(OWN, OTHER, UNUSUAL)),
            [
                "At 20:26:40 it was taken for person 1, who looks very alike (0.71), and had left lobby 23 s before, "
                "as people do: 87 % sure.",
                "Person 2 looks very alike (0.90), but was elsewhere in this camera at the same time.",
                "Person 3 looks rather different (0.71), and had left lobby 23 s before, as few people do: only under "
                "1 % sure, and 80 % are needed.",
            ],
            id="a known person",
        ),
        pytest.param(
            decided(weighed(), 0.999, is_new=True, is_tentative=True),
            [
                "At 20:26:40 it was taken for somebody new, person 1, as nobody had been seen before: over 99 % sure.",
                "Later sightings may well change that.",
            ],
            id="the first of all",
        ),
        pytest.param(
            decided(weighed(STILL_THERE), is_new=True),
            [
                "At 20:26:40 it was taken for somebody new, person 1: 87 % sure.",
                "Person 7 looks very alike (0.71), and was still at lobby: only 87 % sure.",
            ],
            id="somebody new",
        ),
        pytest.param(
            decided(None, 0.97),
            ["At 20:26:40 it was taken for person 1, as the rest of its way past this camera was: 97 % sure."],
            id="a later piece of a track",
        ),
    ],
)  # fmt: skip
def test_a_decision_is_told_by_looks_and_ways(reasoned: Reasoned, sentences: list[str]) -> None:
    assert told(reasoned) == sentences


def test_changes_are_told_by_who_made_them_and_why() -> None:
    said = CorrectionRequest(CorrectionKind.MERGE, "anna", "", (GlobalId(1), GlobalId(4)))
    law = Correction(5, said, NOW, NOW, "done", (), (NAME,), ())
    found = told(
        decided(None),
        moved(IdentityEventKind.MERGED, weighed(OWN), 0.93),
        moved(IdentityEventKind.MERGED, weighed(), 0.93),
        moved(IdentityEventKind.SPLIT, None, 0.98),
        moved(IdentityEventKind.MERGED, None, 1.0, "correction 5 by anna"),
        laws=(law,),
    )
    begin = "At 20:26:40 it went from person 4 to person 1"
    assert found[1:] == [
        f"{begin}, because both are one, who look very alike (0.71), 23 s apart, as people do: 93 % sure.",
        f"{begin}, because both are one: 93 % sure.",
        f"{begin}, because some sightings of the former look and walk like somebody else: 98 % sure.",
        f"{begin}: correction 5 by anna.",
        "anna said that persons 1 and 4 are one (correction 5); that is law.",
    ]
    assert not re.search("log-odds|tracklet|probability|calibration", " ".join(found))


def test_what_is_undecided_says_so() -> None:
    found = Explanation(replace(SEEN, global_id=None), None, (), ())
    assert plain_reasons(found, str)[1] == "Who it is has not been decided yet."
