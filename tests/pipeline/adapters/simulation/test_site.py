"""The site as a function of time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.simulation.site import SimulatedSite
from pipeline.adapters.simulation.truth import (
    transits,
    true_boxes,
    true_tracks,
)
from pipeline.errors import ConfigurationError

SITE = SimulatedSite(seed=5, cameras=3, people=20)
MOMENTS = [(camera, time_s) for camera in range(3) for time_s in (3.0, 17.5, 41.3, 60.0, 1000.7)]
seeds = st.integers(0, 10**6)


def test_two_instances_agree_on_any_moment_in_any_order() -> None:
    other = SimulatedSite(seed=5, cameras=3, people=20)
    for camera, time_s in reversed(MOMENTS):
        assert true_boxes(other, camera, time_s) == true_boxes(SITE, camera, time_s)
    camera, time_s = MOMENTS[-1]
    assert np.array_equal(other.render(camera, time_s), SITE.render(camera, time_s))


def test_another_seed_is_another_site() -> None:
    other = SimulatedSite(seed=6, cameras=3, people=20)
    assert other.people != SITE.people
    assert other.views != SITE.views


def test_a_site_runs_for_ever() -> None:
    year_s = 365 * 86_400.0
    assert any(true_boxes(SITE, camera, year_s + t) for camera in range(3) for t in (0.0, 10.0, 20.0))


@pytest.mark.parametrize("wrong", [{"cameras": 0}, {"cameras": 9}, {"people": 0}, {"seed": -1}])
def test_an_impossible_site_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        SimulatedSite(**({"seed": 1} | wrong))


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_nobody_is_in_two_places_and_every_transit_is_a_walk(seed: int) -> None:
    site = SimulatedSite(seed, 4, 6)
    visits = sorted(site.visits(0.0, 400.0), key=lambda visit: (visit.person_id, visit.started_s))
    for before, after in itertools.pairwise(visits):
        if before.person_id == after.person_id:
            assert after.started_s > before.ended_s
    for transit in transits(site, 0.0, 400.0):
        walked_m = site.walk_m(transit.origin, transit.destination)
        assert transit.transit_s >= 0.9 * walked_m / site.person(transit.person_id).speed_m_s


def test_a_walk_has_the_speed_of_its_person() -> None:
    for visit in SITE.visits(0.0, 60.0):
        middle_s = (visit.started_s + visit.ended_s) / 2
        (ax, ay), _, _ = visit.at(middle_s)
        (bx, by), _, _ = visit.at(middle_s + 0.2)
        speed = math.hypot(bx - ax, by - ay) / 0.2
        assert speed == pytest.approx(SITE.person(visit.person_id).speed_m_s, rel=0.1)


def test_a_track_follows_one_visit() -> None:
    visits = {(visit.person_id, visit.camera): visit for visit in SITE.visits(0.0, 30.0)}
    tracks = true_tracks(SITE, 0.0, 30.0, fps=2.0)
    assert tracks
    for track in tracks:
        assert (track.person_id, track.camera) in visits
        assert np.allclose(np.diff(track.times_s), 0.5)
