from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts import unpack_vector
from pipeline.matching.assignment import TrackKey, track_of
from services.evaluation.identity_answers import TrueTracklet
from services.evaluation.vector_looks import LookModel
from services.evaluation.vector_site import DAY_S, Outage, SimulatedPeople, VectorSite

SMALL = VectorSite(people=30, looks=LookModel(dimension=32))
PLAIN = replace(
    SMALL, miss_share=0.0, break_share=0.0, group_share=0.0, rush_share=0.0, second_walk_share=0.0, cut_every_s=1e9
)
sites = st.builds(
    VectorSite,
    cameras=st.integers(2, 8),
    people=st.integers(1, 40),
    days=st.integers(1, 3),
    looks=st.just(LookModel(dimension=16)),
    overlapping=st.integers(0, 2),
    group_share=st.floats(0, 1),
    rush_share=st.floats(0, 1),
    returning_share=st.floats(0, 1),
    break_share=st.floats(0, 1),
    clock_skew_s=st.sampled_from([0.0, 180.0]),
)


def walked(site: VectorSite, seed: int = 0) -> list[TrueTracklet]:
    return list(SimulatedPeople(site, np.random.default_rng(seed)))


def tracks_of(tracklets: list[TrueTracklet]) -> set[TrackKey]:
    return {track_of(seen.embedding) for seen in tracklets}


@settings(max_examples=25, deadline=None)
@given(sites, st.integers(0, 1000))
def test_tracklets_come_in_order_once_each_and_from_known_people(site: VectorSite, seed: int) -> None:
    found = walked(site, seed)
    assert all(before.arrived_at <= after.arrived_at for before, after in pairwise(found))
    assert len({seen.embedding.tracklet_id for seen in found}) == len(found)
    assert {seen.true_id for seen in found} <= set(range(site.people))


@settings(max_examples=15, deadline=None)
@given(sites, st.integers(0, 1000))
def test_nobody_is_in_two_tracks_of_one_camera_at_once(site: VectorSite, seed: int) -> None:
    stays: dict[tuple[int | None, str], dict[int, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for seen in walked(site, seed):
        look = seen.embedding
        stays[seen.true_id, look.camera_id][look.track_id].append((look.started_at, look.ended_at))
    for tracks in stays.values():
        ordered = sorted((min(pieces)[0], max(piece[1] for piece in pieces)) for pieces in tracks.values())
        assert all(before[1] < after[0] for before, after in pairwise(ordered))


def test_the_same_seed_walks_the_same_way() -> None:
    assert walked(SMALL, 1) == walked(SMALL, 1) != walked(SMALL, 2)


def test_days_are_made_when_they_are_asked_for() -> None:
    endless = replace(SMALL, people=10**4, days=10**4)
    first = list(islice(SimulatedPeople(endless, np.random.default_rng(0)), 3))
    assert all(seen.arrived_at < DAY_S for seen in first)


def test_each_camera_has_a_clock_of_its_own_within_the_skew() -> None:
    late_s: dict[str, set[float]] = defaultdict(set)
    for seen in walked(replace(SMALL, clock_skew_s=180.0)):
        late_s[seen.embedding.camera_id].add(round(seen.embedding.ended_at - seen.arrived_at, 3))
    assert sorted(next(iter(each)) for each in late_s.values()) == [-180.0, -60.0, 60.0, 180.0]
    assert all(len(each) == 1 for each in late_s.values())


def test_what_the_detector_misses_is_not_there() -> None:
    assert not walked(replace(SMALL, miss_share=1.0))
    assert len(tracks_of(walked(replace(SMALL, miss_share=0.5)))) < 0.7 * len(tracks_of(walked(SMALL)))


def test_a_broken_sighting_is_two_tracks_of_one_person() -> None:
    whole, broken = (walked(replace(PLAIN, break_share=share)) for share in (0.0, 1.0))
    assert len(tracks_of(broken)) > 1.8 * len(tracks_of(whole))


def test_a_camera_that_is_away_sees_nobody_and_comes_back() -> None:
    since_s, until_s = 8 * 3600.0 + 600.0, 8 * 3600.0 + 1800.0
    seen = [
        each
        for each in walked(replace(SMALL, outages=(Outage(1, since_s, until_s),)))
        if each.embedding.camera_id == "c2"
    ]
    assert not [each for each in seen if since_s < each.embedding.ended_at and each.embedding.started_at < until_s]
    assert [each for each in seen if each.embedding.started_at > until_s]


def test_ways_take_their_time_in_the_median() -> None:
    people = SimulatedPeople(replace(PLAIN, people=400, open_s=36_000.0), np.random.default_rng(0))
    took_s = defaultdict(list)
    last: dict[int | None, TrueTracklet] = {}
    for seen in people:
        before = last.get(seen.true_id)
        if before is not None:
            way = int(before.embedding.camera_id[1]) - 1, int(seen.embedding.camera_id[1]) - 1
            took_s[way].append(seen.embedding.started_at - before.embedding.ended_at)
        last[seen.true_id] = seen
    for way, times_s in took_s.items():
        assert np.median(times_s) == pytest.approx(people.walked_s[way], rel=0.2)


def test_cameras_that_see_the_same_place_see_people_at_once() -> None:
    def is_double(site: VectorSite) -> bool:
        ends: dict[int | None, float] = {}
        found = sorted(walked(site), key=lambda seen: seen.embedding.started_at)
        overlaps = False
        for seen in found:
            overlaps |= seen.embedding.started_at < ends.get(seen.true_id, -1.0)
            ends[seen.true_id] = seen.embedding.ended_at
        return overlaps

    assert is_double(replace(PLAIN, overlapping=1)) and not is_double(PLAIN)


def test_groups_walk_side_by_side() -> None:
    site = replace(PLAIN, people=60, group_share=1.0, open_s=360_000.0)  # so rare that only groups meet
    seen = walked(site)
    near = [
        any(
            abs(a.arrived_at - b.arrived_at) < 10
            and a.true_id != b.true_id
            and a.embedding.camera_id == b.embedding.camera_id
            for b in seen
        )
        for a in seen
    ]
    assert np.mean(near) > 0.8


@pytest.mark.parametrize(("changed_share", "is_alike"), [(0.0, True), (1.0, False)])
def test_who_returns_looks_the_same_unless_the_clothes_have_changed(changed_share: float, is_alike: bool) -> None:
    calm = LookModel(piece=0.01, sighting=0.01, camera=0.0, common=0.0, noise_spread=0.0, outfits=0)
    site = replace(PLAIN, days=2, returning_share=1.0, changed_clothes_share=changed_share, looks=calm)
    looks: dict[int | None, dict[bool, np.ndarray]] = defaultdict(dict)
    for seen in walked(site):
        looks[seen.true_id][seen.arrived_at > DAY_S] = unpack_vector(seen.embedding.appearance)
    returned = [float(days[False] @ days[True]) for days in looks.values() if len(days) == 2]
    assert len(returned) >= 10
    assert (np.mean(returned) > 0.9) == is_alike
