"""Evidence in, verdicts out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.contracts import F32, F64, GlobalId, TrackletEmbedding, TrackletId
from pipeline.decisions import MAX_CANDIDATES
from pipeline.matching.assignment import (
    TRACK_CONFIDENCE,
    Standing,
    Verdict,
    are_exclusive,
    arrivals_of,
    assign,
    least_for,
    track_of,
)
from pipeline.matching.evidence import Candidates
from pipeline.matching.looks import LookPrior, straight_curves
from tests.fakes import embedding, unit_vectors
from tests.pipeline.matching.made_site import calibration, nobody

LEAST, BUDGET = 0.7, 0.1
# Even odds at a similarity of 0.6 for two single tracklets, with log-odds of 20 for each whole step in similarity.
SITE = replace(
    calibration(("gate", "hall"), LookPrior(mean=0.4, deviation=0.1, curves=straight_curves(slope=2.0, midpoint=2.0))),
    number=4,
)
UNKNOWN = Standing(None, frozenset())
FIRST_NEW = GlobalId(100)
HALL = 1

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


def known(*similarities: dict[int, float], exemplars: int = 1, seen_at: float = -20.0) -> Candidates:
    """What is known for each arrival: similarity by identity; all were seen in the hall."""
    people = sorted({person for each in similarities for person in each})
    table = np.array([[each.get(person, -1.0) for person in people] for each in similarities])
    held = np.zeros((len(people), 3), np.int64)
    held[:, HALL] = exemplars
    return Candidates(
        global_ids=np.array(people, np.int64),
        camera_ids=["hall"] * len(people),
        places=np.full(len(people), HALL),
        seen_at=np.full(len(people), seen_at),
        exemplars=held,
        similarities=table.reshape(len(similarities), len(people)),
        known=len(people),
    )


def verdicts_on(
    batch: Sequence[TrackletEmbedding],
    candidates: Candidates | None = None,
    standings: Sequence[Standing] | None = None,
    least: float = LEAST,
) -> list[Verdict]:
    arrivals = arrivals_of(batch)
    unknown = nobody(len(arrivals), cameras=2)
    at = standings or [UNKNOWN] * len(arrivals)
    return assign(arrivals, at, candidates or unknown, FIRST_NEW, SITE, least, BUDGET)


def identities(batch: Sequence[TrackletEmbedding]) -> dict[TrackletId, GlobalId]:
    return {
        piece.tracklet_id: verdict.global_id
        for arrival, verdict in zip(arrivals_of(batch), verdicts_on(batch), strict=True)
        for piece in arrival.pieces
    }


def decide(
    similarities: dict[int, float], standing: Standing = UNKNOWN, least: float = LEAST, seen_at: float = -20.0
) -> Verdict:
    candidates = known(similarities, seen_at=seen_at)
    return verdicts_on([embedding(started_at=0.0, ended_at=4.0)], candidates, [standing], least)[0]


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


@given(similarity, similarity, st.floats(0.3, 0.99))
def test_only_the_least_probability_divides_joining_from_opening(first: float, second: float, least: float) -> None:
    verdict = decide({7: first, 8: second}, least=least)
    assert verdict.evidence is not None
    likeliest = max(verdict.evidence.candidates, key=lambda seen: seen.probability)
    assert verdict.is_new == (likeliest.probability < least or likeliest.appearance_log_odds <= 0.0)
    if not verdict.is_new:
        assert verdict.global_id == (7 if first >= second else 8)


@given(similarity, similarity)
def test_the_probabilities_of_a_verdict_are_shared_out_between_all_and_somebody_new(a: float, b: float) -> None:
    verdict = decide({7: a, 8: b})
    assert verdict.evidence is not None
    shares = {seen.global_id: seen.probability for seen in verdict.evidence.candidates}
    assert sum(shares.values()) + verdict.evidence.new_probability == pytest.approx(1.0)
    expected = verdict.evidence.new_probability if verdict.is_new else shares[verdict.global_id]
    assert verdict.confidence == pytest.approx(expected)
    assert verdict.is_tentative == (verdict.confidence < 1.0 - BUDGET)


def test_in_a_crowd_of_uniforms_nobody_is_joined() -> None:
    """Each would be joined alone; of equals nobody is likely enough."""
    assert not decide({1: 0.95}).is_new
    crowd = decide(dict.fromkeys(range(1, 9), 0.95))
    assert crowd.is_new and crowd.is_tentative


def test_times_decide_where_looks_do_not() -> None:
    assert not decide({7: 0.78}, seen_at=-20.0).is_new
    assert decide({7: 0.78}, seen_at=-2e6).is_new


def test_a_later_piece_takes_the_identity_of_its_track_whatever_it_looks_like() -> None:
    verdict = decide({5: 0.1, 7: 0.99}, Standing(GlobalId(5), frozenset()))
    assert (verdict.global_id, verdict.is_new, verdict.confidence) == (5, False, TRACK_CONFIDENCE)
    assert verdict.reason == "track 0 of gate is person 5" and verdict.evidence is None


def test_a_track_that_goes_on_beside_its_own_person_says_so() -> None:
    verdict = decide({5: 0.9}, Standing(GlobalId(5), frozenset({GlobalId(5)})))
    assert verdict.global_id == 5 and "although another track" in verdict.reason


def test_who_is_elsewhere_in_the_camera_is_not_the_answer() -> None:
    standing = Standing(None, frozenset({GlobalId(7)}))
    assert decide({7: 0.99, 8: 0.85}, standing).global_id == 8
    verdict = decide({7: 0.99}, standing)
    assert verdict.is_new
    assert "elsewhere in this camera" in verdict.reason
    assert verdict.evidence is not None
    assert [seen.probability for seen in verdict.evidence.candidates] == [0.0]


def test_two_at_once_share_out_the_known_people_so_that_the_sum_is_best() -> None:
    batch = [embedding(track_id=1, vector=LOOKS[0]), embedding(track_id=2, vector=LOOKS[1])]
    # Alone, the first would take 7; but only 7 is left for the second.
    candidates = known({7: 0.90, 8: 0.89}, {7: 0.85, 8: 0.50})
    first, second = verdicts_on(batch, candidates, least=0.3)
    assert (first.global_id, second.global_id) == (8, 7)
    assert verdicts_on(batch[:1], known({7: 0.90, 8: 0.89}), least=0.3)[0].global_id == 7


def test_whoever_loses_the_only_candidate_is_new_and_the_reason_says_so() -> None:
    batch = [embedding(track_id=1, vector=LOOKS[0]), embedding(track_id=2, vector=LOOKS[1])]
    first, second = verdicts_on(batch, known({7: 0.95}, {7: 0.9}))
    assert first.global_id == 7
    assert second.is_new and second.confidence == 1.0
    assert "someone else in this camera" in second.reason


def test_people_seen_by_two_cameras_at_the_same_moment_may_be_one() -> None:
    batch = [embedding("gate", 1, vector=LOOKS[0]), embedding("hall", 1, vector=LOOKS[0])]
    assert len(set(identities(batch).values())) == 1


def test_equals_go_to_the_smaller_number() -> None:
    assert decide({9: 0.95, 3: 0.95}, least=0.3).global_id == 3


def test_one_chance_likeness_does_not_bring_two_people_together() -> None:
    """The mean over an identity's exemplars counts, also over those that came in this micro-batch."""
    chain = [
        embedding("gate", number, started_at=10.0 * number, ended_at=10.0 * number + 1, vector=leaning(cosine))
        for number, cosine in enumerate((1.0, 0.8, 0.25))
    ]
    assert list(identities(chain[:2]).values()) == list(identities(chain[1:]).values()) == [100, 100]
    assert list(identities(chain).values()) == [100, 100, 101]


def test_the_reason_names_the_evidence() -> None:
    joined, opened = decide({12: 0.83}), decide({12: 0.41})
    way = joined.reason[joined.reason.index(", 20 s later") :]
    assert joined.reason == f"person 12 seen in hall, 0.83 alike (log-odds +4.6){way}"
    assert way.endswith("% sure")
    assert opened.reason.startswith("new: closest is person 12 seen in hall, 0.41 alike (log-odds -3.8), 20 s later")
    assert opened.reason.endswith("70% needed")
    assert decide({}).reason == "new: nobody is known yet"


def test_the_evidence_names_the_calibration_and_the_likeliest_few() -> None:
    evidence = decide({person: person / 100 for person in range(1, 20)}).evidence
    assert evidence is not None
    assert (evidence.calibration, evidence.threshold) == (SITE.number, LEAST)
    assert [seen.global_id for seen in evidence.candidates] == [19, 18, 17, 16, 15] and MAX_CANDIDATES == 5


@given(similarity, similarity)
def test_confidence_in_a_known_person_grows_with_similarity_and_in_a_new_one_falls(a: float, b: float) -> None:
    weak, strong = (decide({7: value}) for value in sorted((a, b)))
    assert weak.is_new or not strong.is_new
    if weak.is_new == strong.is_new:
        low, high = (strong, weak) if weak.is_new else (weak, strong)
        assert low.confidence <= high.confidence
    assert weak.confidence <= decide({}).confidence or not weak.is_new


def test_tracks_that_touch_in_one_frame_are_two_people() -> None:
    a, b = arrivals_of([embedding(track_id=1, ended_at=4.0), embedding(track_id=2, started_at=4.0, ended_at=6.0)])
    assert are_exclusive(a, b)


def test_opposite_pieces_of_a_track_still_have_a_look() -> None:
    batch = [embedding(vector=LOOKS[0]), embedding(sequence=1, started_at=5.0, ended_at=9.0, vector=-LOOKS[0])]
    (arrival,) = arrivals_of(batch)
    np.testing.assert_allclose(arrival.vector, LOOKS[0], atol=2e-3)


# --- the least probability of a join ------------------------------

seen_probabilities = arrays.arrays(np.float64, st.integers(0, 300), elements=st.floats(0.0, 1.0))
budgets = st.floats(0.001, 0.5)


@given(seen_probabilities, budgets)
def test_of_those_who_join_no_more_are_wrong_than_the_budget_allows(likeliest: F64, budget: float) -> None:
    least = least_for(budget, likeliest)
    assert 0.3 <= least <= 1.0
    joined = likeliest[likeliest >= least]
    # So few are taken to have been seen before: what the budget leaves of them may go to the others.
    assert (1.0 - joined).sum() <= budget * (len(joined) + 32) + 1e-6


@given(seen_probabilities, budgets, st.integers(1, 500))
def test_the_surer_the_other_joins_are_the_less_sure_one_needs_to_be(likeliest: F64, budget: float, more: int) -> None:
    assert least_for(budget, np.append(likeliest, np.ones(more))) <= least_for(budget, likeliest)


@given(seen_probabilities, budgets, budgets)
def test_a_greater_budget_asks_for_less(likeliest: F64, one: float, other: float) -> None:
    assert least_for(max(one, other), likeliest) <= least_for(min(one, other), likeliest)


def test_before_anything_was_seen_a_greater_budget_joins_more() -> None:
    first = [least_for(budget, np.zeros(0)) for budget in (0.01, 0.05, 0.1, 0.2)]
    assert first == sorted(first, reverse=True) and first[0] > 0.9 and first[-1] < first[0]
