from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import F32, GlobalId, TrackletEmbedding, TrackletId
from pipeline.matching.assignment import (
    AssignmentConfig,
    Evidence,
    Resemblance,
    Verdict,
    are_exclusive,
    arrivals_of,
    assign,
    track_of,
)
from tests.fakes import embedding, unit_vectors

CONFIG = AssignmentConfig(threshold=0.6, midpoint=0.6, slope=20.0)
NOTHING = Evidence(None, (), frozenset())
FIRST_NEW = GlobalId(100)

LOOKS = unit_vectors(np.random.default_rng(1), 4)


def leaning(similarity: float, towards: F32 = LOOKS[0]) -> F32:
    """A unit vector with the given similarity to another."""
    aside = LOOKS[1] - (LOOKS[1] @ towards) * towards
    aside /= np.linalg.norm(aside)
    return np.asarray(similarity * towards + math.sqrt(1.0 - similarity**2) * aside, np.float32)


@st.composite
def pieces(draw: st.DrawFn) -> list[TrackletEmbedding]:
    """Pieces of some tracks of two cameras that look like one of few people each."""
    found: list[TrackletEmbedding] = []
    for track_id in range(draw(st.integers(1, 6))):
        camera_id = draw(st.sampled_from(["gate", "hall"]))
        at = float(draw(st.integers(0, 12)))
        look = LOOKS[draw(st.integers(0, 3))]
        for sequence in range(draw(st.integers(1, 3))):
            ended_at = at + draw(st.integers(0, 4))
            found.append(embedding(camera_id, track_id, sequence, started_at=at, ended_at=ended_at, vector=look))
            at = ended_at + 0.1
    return found


def identities(batch: Sequence[TrackletEmbedding]) -> dict[TrackletId, GlobalId]:
    arrivals = arrivals_of(batch)
    verdicts = assign(arrivals, [NOTHING] * len(arrivals), FIRST_NEW, CONFIG)
    return {
        piece.tracklet_id: verdict.global_id
        for arrival, verdict in zip(arrivals, verdicts, strict=True)
        for piece in arrival.pieces
    }


def decide(evidence: Evidence, batch: Sequence[TrackletEmbedding] | None = None) -> Verdict:
    return assign(arrivals_of(batch or [embedding()]), [evidence], FIRST_NEW, CONFIG)[0]


def like(person: int, similarity: float, camera_id: str = "hall", track_id: int = 1) -> Resemblance:
    return Resemblance(GlobalId(person), similarity, (camera_id, "b1", track_id))


@given(pieces())
def test_nobody_is_twice_in_one_camera_at_once(batch: list[TrackletEmbedding]) -> None:
    found = identities(batch)
    for a, b in combinations(batch, 2):
        is_together = a.camera_id == b.camera_id and a.started_at <= b.ended_at and b.started_at <= a.ended_at
        if is_together and a.track_id != b.track_id:
            assert found[a.tracklet_id] != found[b.tracklet_id]


@given(pieces())
def test_pieces_of_one_track_stay_together(batch: list[TrackletEmbedding]) -> None:
    found = identities(batch)
    by_track: dict[object, set[GlobalId]] = {}
    for piece in batch:
        by_track.setdefault(track_of(piece), set()).add(found[piece.tracklet_id])
    assert all(len(people) == 1 for people in by_track.values())


@given(pieces().flatmap(lambda batch: st.tuples(st.just(batch), st.permutations(batch))))
def test_the_order_of_arrival_inside_a_batch_does_not_matter(
    orders: tuple[list[TrackletEmbedding], list[TrackletEmbedding]],
) -> None:
    assert identities(orders[0]) == identities(orders[1])


@given(pieces())
def test_new_identities_are_numbered_without_gaps(batch: list[TrackletEmbedding]) -> None:
    opened = sorted(set(identities(batch).values()))
    assert opened == list(range(FIRST_NEW, FIRST_NEW + len(opened)))


@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_only_the_threshold_divides_joining_from_opening(first: float, second: float) -> None:
    verdict = decide(Evidence(None, (like(7, first), like(8, second, track_id=2)), frozenset()))
    assert verdict.is_new == (max(first, second) < CONFIG.threshold)
    if not verdict.is_new:
        assert verdict.global_id == (7 if first >= second else 8)


def test_a_later_piece_takes_the_identity_of_its_track_whatever_it_looks_like() -> None:
    verdict = decide(Evidence(GlobalId(5), (like(7, 0.99),), frozenset()))
    assert (verdict.global_id, verdict.is_new) == (5, False)


def test_who_is_elsewhere_in_the_camera_is_not_the_answer() -> None:
    verdict = decide(Evidence(None, (like(7, 0.99), like(8, 0.7, track_id=2)), frozenset({GlobalId(7)})))
    assert verdict.global_id == 8
    verdict = decide(Evidence(None, (like(7, 0.99),), frozenset({GlobalId(7)})))
    assert verdict.is_new
    assert "elsewhere in this camera" in verdict.reason


def test_two_at_once_share_out_the_known_people_so_that_the_sum_is_best() -> None:
    batch = [embedding(track_id=1, vector=LOOKS[0]), embedding(track_id=2, vector=LOOKS[1])]
    # Alone, the first would take 7; but only 7 is left for the second.
    evidence = [
        Evidence(None, (like(7, 0.80), like(8, 0.79, track_id=2)), frozenset()),
        Evidence(None, (like(7, 0.75), like(8, 0.50, track_id=2)), frozenset()),
    ]
    first, second = assign(arrivals_of(batch), evidence, FIRST_NEW, CONFIG)
    assert (first.global_id, second.global_id) == (8, 7)


def test_whoever_loses_the_only_candidate_is_new_and_the_reason_says_so() -> None:
    batch = [embedding(track_id=1, vector=LOOKS[0]), embedding(track_id=2, vector=LOOKS[1])]
    evidence = [Evidence(None, (like(7, 0.9),), frozenset()), Evidence(None, (like(7, 0.8),), frozenset())]
    first, second = assign(arrivals_of(batch), evidence, FIRST_NEW, CONFIG)
    assert first.global_id == 7
    assert second.is_new
    assert "someone else in this camera" in second.reason


def test_people_seen_by_two_cameras_at_the_same_moment_may_be_one() -> None:
    found = identities([embedding("gate", 1, vector=LOOKS[0]), embedding("hall", 1, vector=LOOKS[0])])
    assert len(set(found.values())) == 1


def test_equals_go_to_the_smaller_number() -> None:
    assert decide(Evidence(None, (like(9, 0.8), like(3, 0.8, track_id=2)), frozenset())).global_id == 3


def test_the_mean_of_the_best_two_counts_tracks_and_not_pieces() -> None:
    config = AssignmentConfig(threshold=0.6, best_of=2)
    seen = (like(7, 0.9), like(7, 0.9), like(7, 0.4, track_id=2), like(8, 0.7, track_id=3))
    verdict = assign(arrivals_of([embedding()]), [Evidence(None, seen, frozenset())], FIRST_NEW, config)[0]
    assert verdict.global_id == 8


def test_the_reason_names_the_evidence() -> None:
    assert decide(Evidence(None, (like(12, 0.83, "gate"),), frozenset())).reason == (
        "0.83 to person 12 seen in gate; threshold 0.60"
    )
    assert decide(NOTHING).reason == "new: nobody known resembles this person"


@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_confidence_in_a_known_person_grows_with_similarity_and_in_a_new_one_falls(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert CONFIG.probability(low) <= CONFIG.probability(high)
    weak, strong = decide(Evidence(None, (like(7, low),), frozenset())), decide(NOTHING)
    if weak.is_new:
        assert weak.confidence <= strong.confidence


def test_tracks_that_touch_in_one_frame_are_two_people() -> None:
    a, b = arrivals_of([embedding(track_id=1, ended_at=4.0), embedding(track_id=2, started_at=4.0, ended_at=6.0)])
    assert are_exclusive(a, b)


def test_similar_enough_within_a_batch_is_one_person_at_different_times() -> None:
    found = identities(
        [
            embedding("gate", 1, started_at=0.0, ended_at=1.0, vector=LOOKS[0]),
            embedding("gate", 2, started_at=2.0, ended_at=3.0, vector=leaning(0.7)),
            embedding("gate", 3, started_at=4.0, ended_at=5.0, vector=leaning(-0.3)),
        ]
    )
    assert list(found.values()) == [100, 100, 101]


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="positive slope"):
        AssignmentConfig(slope=0.0)
