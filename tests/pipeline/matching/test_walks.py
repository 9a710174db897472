"""Whether one person can have gone the ways of two."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts import GlobalId
from pipeline.matching.evidence import WALK_LIMIT, believed
from pipeline.matching.people import People
from pipeline.matching.transit import TransitTimes, bin_of
from pipeline.matching.walks import Walk, walk
from tests.fakes import embedding
from tests.pipeline.matching.made_site import CAMERAS, Seen, calibration, people_with

Stay = tuple[str, float]  # before which camera, and when


def piece(track_id: int, stay: Stay, whose: int) -> Seen:
    camera_id, started_at = stay
    return embedding(camera_id, track_id, started_at=started_at, ended_at=started_at + 4.0), GlobalId(whose)


def of_two(one: list[Stay], other: list[Stay], ways: list[tuple[str, str, float]]) -> tuple[People, Walk]:
    """Two people at a site where so many took a way before: from, to, and after how long."""
    gaps = np.zeros((3, 3, TransitTimes.unknown().gaps.shape[2]))
    for before, after, gap_s in ways:
        gaps[CAMERAS.index(before), CAMERAS.index(after), bin_of(np.array([gap_s]))] += 40.0
    tracks = np.full(3, 60.0)
    known = replace(calibration(), transit=TransitTimes(gaps, tracks, tracks / 10, 3600.0))
    seen = [piece(place, stay, 1) for place, stay in enumerate(one)]
    people = people_with([*seen, *(piece(50 + place, stay, 2) for place, stay in enumerate(other))], known=known)
    return people, walk(people, people.tracks.spans(GlobalId(1)), people.tracks.spans(GlobalId(2)))


WAYS = [("gate", "hall", 21.0), ("hall", "yard", 21.0), ("gate", "yard", 46.0)]


def test_who_comes_as_others_came_may_be_the_one_who_left() -> None:
    found = of_two([("gate", 0.0)], [("hall", 25.0)], WAYS)[1]
    assert found.odds > 2.0 and found.gap_s == 21.0


def test_who_would_have_had_to_turn_round_twice_is_somebody_else() -> None:
    """Each of the two walked straight from camera to camera; as one person nobody walks like that."""
    straight, other = [("gate", 0.0), ("hall", 25.0), ("yard", 50.0)], [("gate", 11.0), ("hall", 36.0), ("yard", 61.0)]
    found = of_two(straight, other, WAYS)[1]
    assert found.odds < -4.0
    assert abs(found.gap_s) == 7.0


def test_whoever_fills_the_gap_of_a_walk_may_be_the_one_who_walked() -> None:
    filled = of_two([("gate", 0.0), ("yard", 50.0)], [("hall", 25.0)], WAYS)[1]
    aside = of_two([("gate", 0.0), ("yard", 50.0)], [("gate", 25.0)], WAYS)[1]
    assert filled.odds > 0.0 > aside.odds


STAYS = st.lists(st.tuples(st.sampled_from(CAMERAS), st.integers(0, 600).map(float)), min_size=1, max_size=6)


@settings(max_examples=40)
@given(STAYS, STAYS)
def test_a_walk_of_two_is_weighed_return_by_return(one: list[Stay], other: list[Stay]) -> None:
    people, found = of_two(one, other, WAYS)

    def walked(stays: list[Stay]) -> float:
        total = 0.0
        ordered = sorted(stays, key=lambda stay: (stay[1], people.tracks.camera_ids.index(stay[0])))
        for (here, left), (there, came) in pairwise(ordered):
            gap_s = np.array([came - left - 4.0])
            before, after = np.array([CAMERAS.index(here)]), CAMERAS.index(there)
            total += float(believed(people.calibration.transit.evidence(before, after, gap_s), len(people))[0])
        return total

    expected = walked([*one, *other]) - walked(one) - walked(other)
    assert found.odds == pytest.approx(min(max(expected, -WALK_LIMIT), WALK_LIMIT))
    assert people.tracks.spans(GlobalId(1)).cameras.size == len(one)
