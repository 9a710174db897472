"""What is learnt of those who were not recognised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import GlobalId
from pipeline.matching.people import People
from pipeline.matching.returns import expected_transits
from pipeline.matching.transit import TransitTimes, bin_of, count_transits
from tests.fakes import DIMENSION, embedding, unit_vectors
from tests.pipeline.matching.made_site import CAMERAS, Seen, near, people_with, walks

GAP_S, GATE, HALL = 12.0, 0, 1


def unrecognised(persons: int, noise: float) -> list[Seen]:
    """Everybody passes the gate, and the hall `GAP_S` later; each time as somebody new."""
    rng = np.random.default_rng(5)
    found: list[Seen] = []
    for person, look in enumerate(unit_vectors(rng, persons)):
        for camera_id, at in (("gate", 7.0 * person), ("hall", 7.0 * person + 4.0 + GAP_S)):
            piece = embedding(camera_id, len(found), started_at=at, ended_at=at + 4.0, vector=near(look, rng, noise))
            found.append((piece, GlobalId(len(found) + 1)))
    return sorted(found, key=lambda seen: seen[0].started_at)


def expected(people: People) -> TransitTimes:
    spans = people.tracks.everything()
    return expected_transits(
        people, spans, np.array([CAMERAS.index(people.tracks.camera_ids[n]) for n in spans.cameras]), 3
    )


def as_decided(people: People) -> TransitTimes:
    spans = people.tracks.everything()
    places = np.array([CAMERAS.index(people.tracks.camera_ids[number]) for number in spans.cameras])
    return count_transits(places, spans.global_ids, spans.started_at, spans.ended_at, spans.newness, 3)


def test_a_way_that_nobody_was_recognised_on_is_learnt_from_looks() -> None:
    people = people_with(unrecognised(persons=40, noise=0.05))
    found = expected(people)
    assert as_decided(people).gaps.sum() == 0.0
    way = found.gaps[GATE, HALL, bin_of(np.array([GAP_S]))[0]]
    assert way == pytest.approx(40, rel=0.25) and found.gaps.sum() - way < 8.0
    # Of the tracks without those of the beginning, half are of somebody new.
    assert found.strangers.sum() / found.tracks.sum() == pytest.approx(0.5, abs=0.1)
    assert found.strangers[HALL] < 0.3 * found.tracks[HALL] and found.strangers[GATE] > 0.7 * found.tracks[GATE]


def test_where_nobody_resembles_anybody_all_are_strangers() -> None:
    everybody = [
        (piece.model_copy(update={"appearance": embedding(vector=look).appearance}), whose)
        for (piece, whose), look in zip(unrecognised(6, 0.0), np.eye(12, DIMENSION, dtype=np.float32), strict=True)
    ]
    people = people_with(everybody)
    decided = as_decided(people)
    found = expected(people)
    np.testing.assert_array_equal(found.gaps, decided.gaps)
    np.testing.assert_array_equal(found.strangers, decided.strangers)


def test_before_anything_was_seen_nothing_is_expected() -> None:
    nobody = expected_transits(people_with(), people_with().tracks.everything(), np.zeros(0, np.int64), 0)
    assert nobody.gaps.size == 0 and nobody.span_s == 0.0


@given(st.integers(0, 2**16), st.integers(2, 12), st.sampled_from([0.05, 0.3, 1.0]))
def test_nobody_goes_on_as_two_and_nobody_comes_from_two(seed: int, persons: int, noise: float) -> None:
    people = people_with(walks(40, persons=persons, seed=seed, noise=noise))
    found, decided = expected(people), as_decided(people)
    identities = len({*people.tracks.everything().global_ids.tolist()})
    assert (found.gaps >= decided.gaps).all()
    assert found.gaps.sum() - decided.gaps.sum() <= identities - 1 + 1e-9
    assert (found.strangers >= -1e-9).all() and (found.strangers <= found.tracks + 1e-9).all()
    assert np.isfinite(found.log_odds).all()
