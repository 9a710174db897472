from __future__ import annotations

import motmetrics
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts import GlobalId
from services.evaluation.identity import JudgedTracklet, embed_tracklets, score_identities
from tests.fakes import ColourEncoder, crop, jpeg, painted, tracklet

judged = st.builds(
    lambda camera, detections, true, given_id: JudgedTracklet(
        camera, detections, true, None if given_id is None else GlobalId(given_id)
    ),
    st.sampled_from(["gate", "hall", "yard"]),
    st.integers(1, 4),
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 4),
)


def seen(camera_id: str, true_id: int | None, global_id: int | None, detections: int = 1) -> JudgedTracklet:
    return JudgedTracklet(camera_id, detections, true_id, None if global_id is None else GlobalId(global_id))


@settings(max_examples=25, deadline=None)
@given(st.lists(judged, min_size=1, max_size=8))
def test_idf1_is_that_of_motmetrics_with_every_detection_in_a_frame_of_its_own(found: list[JudgedTracklet]) -> None:
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for each in found:
        for _ in range(each.detections):
            truth = [] if each.true_id is None else [each.true_id]
            given_ids = [] if each.global_id is None else [each.global_id]
            accumulator.update(truth, given_ids, np.zeros((len(truth), len(given_ids))))
    expected = motmetrics.metrics.create().compute(accumulator, metrics=["idf1", "idp", "idr"], name="all").loc["all"]
    score = score_identities(found)
    for ours, theirs in zip((score.idf1, score.id_precision, score.id_recall), expected, strict=True):
        assert ours == pytest.approx(0.0 if np.isnan(theirs) else theirs)


@given(st.lists(judged, max_size=8))
def test_pairs_are_counted_as_naive_loops_count_them(found: list[JudgedTracklet]) -> None:
    pairs = [
        (a.true_id == b.true_id, a.global_id == b.global_id and a.global_id is not None)
        for place, a in enumerate(found)
        for b in found[:place]
        if a.camera_id != b.camera_id and a.true_id is not None and b.true_id is not None
    ]
    right = sum(is_one and is_said for is_one, is_said in pairs)
    score = score_identities(found)
    assert score.pair_precision == pytest.approx(right / max(1, sum(is_said for _, is_said in pairs)))
    assert score.pair_recall == pytest.approx(right / max(1, sum(is_one for is_one, _ in pairs)))


def test_everything_right_scores_one_whatever_the_numbers() -> None:
    score = score_identities([seen("gate", 1, 20), seen("hall", 1, 20), seen("gate", 2, 10)])
    assert (score.idf1, score.pair_precision, score.pair_recall, score.identities_per_person) == (1, 1, 1, 1)


def test_one_person_in_two_identities_counts_with_the_larger_part() -> None:
    score = score_identities([seen("gate", 1, 10, detections=6), seen("hall", 1, 11, detections=4)])
    assert score.idf1 == pytest.approx(0.6)
    assert score.pair_recall == 0.0
    assert (score.identities_per_person, score.opened_per_person) == (2.0, 2.0)


def test_two_persons_in_one_identity_count_with_the_larger_part() -> None:
    score = score_identities([seen("gate", 1, 10, detections=6), seen("hall", 2, 10, detections=4)])
    assert score.idf1 == pytest.approx(0.6)
    assert score.pair_precision == 0.0


def test_nothing_scores_zero() -> None:
    assert score_identities([]).idf1 == 0.0


def test_tracklets_are_embedded_as_the_embedder_would() -> None:
    red = crop(jpeg(painted((200, 20, 20))))
    found = list(embed_tracklets([tracklet(number, red) for number in range(5)], ColourEncoder(), at_once=2))
    assert [each.track_id for each in found] == [0, 1, 2, 3, 4]
    assert len({each.appearance for each in found}) == 1
