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
    Candidates,
    Standing,
    Verdict,
    are_exclusive,
    arrivals_of,
    assign,
    track_of,
)
from tests.fakes import embedding, unit_vectors

CONFIG = AssignmentConfig(threshold=0.6, midpoint=0.6, slope=20.0)
UNKNOWN = Standing(None, frozenset())
FIRST_NEW = GlobalId(100)

similarity = st.integers(-10_000, 10_000).map(lambda number: number / 10_000)  # as they are compared
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


def known(*similarities: dict[int, float], exemplars: int = 1) -> Candidates:
    """What is known for each arrival: similarity by identity; all were seen in the hall."""
    people = sorted({person for each in similarities for person in each})
    table = np.array([[each.get(person, -1.0) for person in people] for each in similarities])
    return Candidates(
        [GlobalId(person) for person in people],
        ["hall"] * len(people),
        np.full(len(people), exemplars, np.int64),
        table.reshape(len(similarities), len(people)),
    )


def identities(batch: Sequence[TrackletEmbedding]) -> dict[TrackletId, GlobalId]:
    arrivals = arrivals_of(batch)
    verdicts = assign(arrivals, [UNKNOWN] * len(arrivals), known(*[{}] * len(arrivals)), FIRST_NEW, CONFIG)
    return {
        piece.tracklet_id: verdict.global_id
        for arrival, verdict in zip(arrivals, verdicts, strict=True)
        for piece in arrival.pieces
    }


def decide(similarities: dict[int, float], standing: Standing = UNKNOWN) -> Verdict:
    return assign(arrivals_of([embedding()]), [standing], known(similarities), FIRST_NEW, CONFIG)[0]


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


@given(similarity, similarity)
def test_only_the_threshold_divides_joining_from_opening(first: float, second: float) -> None:
    verdict = decide({7: first, 8: second})
    assert verdict.is_new == (max(first, second) < CONFIG.threshold)
    if not verdict.is_new:
        assert verdict.global_id == (7 if first >= second else 8)


def test_a_later_piece_takes_the_identity_of_its_track_whatever_it_looks_like() -> None:
    verdict = decide({5: 0.1, 7: 0.99}, Standing(GlobalId(5), frozenset()))
    assert (verdict.global_id, verdict.is_new) == (5, False)


def test_who_is_elsewhere_in_the_camera_is_not_the_answer() -> None:
    standing = Standing(None, frozenset({GlobalId(7)}))
    assert decide({7: 0.99, 8: 0.7}, standing).global_id == 8
    verdict = decide({7: 0.99}, standing)
    assert verdict.is_new
    assert "elsewhere in this camera" in verdict.reason


def test_two_at_once_share_out_the_known_people_so_that_the_sum_is_best() -> None:
    batch = [embedding(track_id=1, vector=LOOKS[0]), embedding(track_id=2, vector=LOOKS[1])]
    # Alone, the first would take 7; but only 7 is left for the second.
    candidates = known({7: 0.80, 8: 0.79}, {7: 0.75, 8: 0.50}, exemplars=9)
    first, second = assign(arrivals_of(batch), [UNKNOWN] * 2, candidates, FIRST_NEW, CONFIG)
    assert (first.global_id, second.global_id) == (8, 7)


def test_whoever_loses_the_only_candidate_is_new_and_the_reason_says_so() -> None:
    batch = [embedding(track_id=1, vector=LOOKS[0]), embedding(track_id=2, vector=LOOKS[1])]
    first, second = assign(arrivals_of(batch), [UNKNOWN] * 2, known({7: 0.9}, {7: 0.8}), FIRST_NEW, CONFIG)
    assert first.global_id == 7
    assert second.is_new
    assert "someone else in this camera" in second.reason


def test_people_seen_by_two_cameras_at_the_same_moment_may_be_one() -> None:
    found = identities([embedding("gate", 1, vector=LOOKS[0]), embedding("hall", 1, vector=LOOKS[0])])
    assert len(set(found.values())) == 1


def test_equals_go_to_the_smaller_number() -> None:
    assert decide({9: 0.8, 3: 0.8}).global_id == 3


def test_one_chance_likeness_does_not_bring_two_people_together() -> None:
    """The mean over an identity's exemplars counts, also over those that came in this micro-batch."""
    chain = [
        embedding("gate", number, started_at=10.0 * number, ended_at=10.0 * number + 1, vector=leaning(cosine))
        for number, cosine in enumerate((1.0, 0.7, -0.1))
    ]
    assert float(leaning(0.7) @ leaning(-0.1)) > CONFIG.threshold
    assert list(identities(chain).values()) == [100, 100, 101]


def test_the_reason_names_the_evidence() -> None:
    assert decide({12: 0.83}).reason == "0.83 to person 12 seen in hall; threshold 0.60"
    assert decide({12: 0.41}).reason == "new: closest is 0.41 to person 12 seen in hall; threshold 0.60"
    assert decide({}).reason == "new: nobody known resembles this person"


@given(similarity, similarity)
def test_confidence_in_a_known_person_grows_with_similarity_and_in_a_new_one_falls(a: float, b: float) -> None:
    weak, strong = (decide({7: value}) for value in sorted((a, b)))
    if weak.is_new == strong.is_new:
        assert (weak.confidence <= strong.confidence) != (weak.is_new and weak.confidence != strong.confidence)
    assert weak.confidence <= decide({}).confidence or not weak.is_new


def test_tracks_that_touch_in_one_frame_are_two_people() -> None:
    a, b = arrivals_of([embedding(track_id=1, ended_at=4.0), embedding(track_id=2, started_at=4.0, ended_at=6.0)])
    assert are_exclusive(a, b)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="positive slope"):
        AssignmentConfig(slope=0.0)
