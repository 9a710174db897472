"""What time and place tell, and how it is learnt."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import F64
from pipeline.matching.transit import BINS, EDGES_S, TransitTimes, bin_of, count_transits, prior_shares, with_map

GATE, HALL, YARD, UNSEEN = 0, 1, 2, 3

tracks = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 4),
        st.floats(-5_000.0, 50_000.0),
        st.floats(0.0, 600.0),
        st.floats(0.0, 1.0),
    ),
    max_size=30,
)


def counted(rows: list[tuple[int, int, float, float, float]], cameras: int = 3) -> TransitTimes:
    table = np.array(rows, np.float64).reshape(-1, 5).T
    ended_at = table[2] + table[3]
    return count_transits(table[0].astype(np.int64), table[1].astype(np.int64), table[2], ended_at, table[4], cameras)


def walkers(gap_s: float, count: int = 60, there: int = HALL) -> list[tuple[int, int, float, float, float]]:
    """People who appear at the gate, one every 100 s, and after so long at another camera."""
    found = []
    for person in range(count):
        left_at = 100.0 * person + 5.0
        found += [(GATE, person, left_at - 5.0, 5.0, 0.95), (there, person, left_at + gap_s, 5.0, 0.05)]
    return found


def evidence(times: TransitTimes, before: int, after: int, gap_s: float) -> float:
    return float(times.evidence(np.array([before]), after, np.array([gap_s]))[0])


@given(tracks)
def test_every_track_is_counted_after_the_one_before_it_of_its_person(
    rows: list[tuple[int, int, float, float, float]],
) -> None:
    expected: F64 = np.zeros((3, 3, BINS))
    for person in {row[1] for row in rows}:
        own = sorted((row for row in rows if row[1] == person), key=lambda row: (row[2], row[0]))
        for before, after in pairwise(own):
            if (before[2], before[0]) != (after[2], after[0]):
                expected[before[0], after[0], int(bin_of(np.array(after[2] - (before[2] + before[3]))))] += 1
    times = counted(rows)
    if len({row[:3] for row in rows}) == len(rows):
        np.testing.assert_array_equal(times.gaps, expected)
    since = sorted(row[2] for row in rows)[len(rows) // 4] if rows else 0.0
    late = [row for row in rows if row[2] >= since]
    assert times.tracks.sum() == len(late) >= len(rows) * 0.75
    assert times.strangers.sum() == pytest.approx(sum(row[4] for row in late))
    assert times.span_s == pytest.approx(max(row[2] + row[3] for row in rows) - since if rows else 0)


@given(tracks)
def test_the_odds_are_finite_everywhere(rows: list[tuple[int, int, float, float, float]]) -> None:
    odds = with_map(counted(rows), ["gate", "hall", "yard"], {("gate", "hall"): 30.0}).log_odds
    assert odds.shape == (4, 4, BINS) and np.isfinite(odds).all()


def test_a_site_where_nothing_was_seen_has_odds_for_every_gap() -> None:
    odds = [evidence(TransitTimes.unknown(), 0, 0, gap_s) for gap_s in (-1e9, -60.0, 0.0, 10.0, 3e3, 1e9)]
    assert np.isfinite(odds).all()
    assert odds[3] > odds[4] > odds[5]


def test_gaps_that_were_seen_are_likelier_than_before_and_likelier_than_elsewhere() -> None:
    times, unknown = counted(walkers(gap_s=700.0)), TransitTimes.unknown()
    risen = [evidence(times, GATE, HALL, gap_s) - evidence(unknown, 0, 0, gap_s) for gap_s in (700.0, 7.0, 9_000.0)]
    assert risen[0] > 1.0 and risen[0] > max(risen[1:]) + 0.5
    assert evidence(times, GATE, HALL, 700.0) > evidence(times, HALL, GATE, 700.0)
    assert evidence(times, GATE, HALL, 700.0) > evidence(times, GATE, YARD, 700.0)


def test_what_a_skewed_clock_does_to_gaps_is_learnt() -> None:
    times = counted(walkers(gap_s=-150.0))
    # Whoever is at the gate appears to come there after she was in the hall, and later in fact.
    assert evidence(times, HALL, GATE, 140.0) > evidence(TransitTimes.unknown(), 0, 0, 140.0)
    overlapping = counted(walkers(gap_s=-4.0))
    assert evidence(overlapping, GATE, HALL, -4.0) > evidence(TransitTimes.unknown(), 0, 0, -4.0) + 2.0


def test_a_camera_that_nobody_was_seen_by_is_as_likely_as_any_other_way_not_yet_seen() -> None:
    times = counted(walkers(gap_s=30.0))
    assert np.isfinite(times.log_odds[UNSEEN]).all() and np.isfinite(times.log_odds[:, UNSEEN]).all()
    np.testing.assert_allclose(times.log_odds[GATE, UNSEEN], times.log_odds[GATE, YARD])


@pytest.mark.parametrize("times", [TransitTimes.unknown(), counted(walkers(gap_s=30.0))])
def test_the_longer_somebody_is_away_the_less_likely_is_a_return(times: TransitTimes) -> None:
    away_s = EDGES_S[EDGES_S >= 64.0][:-1]
    for before in range(len(times.log_odds)):
        odds = times.evidence(np.full(len(away_s), before), 0, away_s)
        assert (np.diff(odds) < 1e-9).all()


def test_where_strangers_keep_coming_a_return_is_less_likely() -> None:
    returning = counted(walkers(gap_s=30.0))
    crowd = counted([*walkers(gap_s=30.0), *((HALL, 1_000 + n, 20.0 * n, 5.0, 1.0) for n in range(300))])
    assert evidence(crowd, GATE, HALL, 30.0) < evidence(returning, GATE, HALL, 30.0)


def test_that_everybody_is_a_stranger_at_first_says_nothing_about_how_many_will_come() -> None:
    begun = [(GATE, person, 0.1 * person, 5.0, 1.0) for person in range(15)]
    known = [(HALL, person % 15, 30.0 + person, 5.0, 0.05) for person in range(60)]
    doubted = [(camera, person, at, length, 0.5) for camera, person, at, length, _ in known]
    later = counted(known)
    assert evidence(counted(begun + known), HALL, HALL, 10.0) > evidence(later, HALL, HALL, 10.0) - 0.5
    assert evidence(counted(begun + doubted), HALL, HALL, 10.0) < evidence(later, HALL, HALL, 10.0) - 1.0


def test_strangers_count_as_they_were_thought_of_and_not_as_decided() -> None:
    rows = walkers(gap_s=30.0)
    doubted = [(camera, person, at, length, 1.0) for camera, person, at, length, _ in rows]
    assert evidence(counted(rows), GATE, HALL, 30.0) > evidence(counted(doubted), GATE, HALL, 30.0)


def test_a_gap_that_nobody_had_keeps_its_share_however_many_were_seen() -> None:
    few, many = counted(walkers(gap_s=30.0, count=1_000)), counted(walkers(gap_s=30.0, count=4_000))
    assert evidence(many, GATE, HALL, 7_000.0) > evidence(few, GATE, HALL, 7_000.0) - 0.5


def test_a_map_makes_its_walks_likelier_either_way_and_passes_over_unknown_names() -> None:
    times = counted([(camera, 10 + camera, 0.0, 5.0, 1.0) for camera in range(3)])
    mapped = with_map(times, ["gate", "hall", "yard"], {("gate", "hall"): 900.0, ("gate", "cellar"): 5.0})
    for one, other in ((GATE, HALL), (HALL, GATE)):
        assert evidence(mapped, one, other, 900.0) > evidence(times, one, other, 900.0) + 1.0
    assert evidence(mapped, GATE, HALL, 900.0) > evidence(mapped, GATE, YARD, 900.0)
    assert times.gaps.sum() == 0.0 and mapped.gaps.sum() == pytest.approx(2 * mapped.gaps[GATE, HALL].sum())


def test_what_was_seen_outweighs_a_wrong_map() -> None:
    times = with_map(counted(walkers(gap_s=700.0, count=400)), ["gate", "hall", "yard"], {("gate", "hall"): 20.0})
    assert evidence(times, GATE, HALL, 700.0) > evidence(TransitTimes.unknown(), 0, 0, 700.0)
    seen = times.gaps[GATE, HALL]
    assert seen[bin_of(np.array([700.0]))].sum() > 0.9 * seen.sum()


@given(st.floats(-1e7, 1e8))
def test_every_gap_has_a_bin_that_holds_it_or_is_the_outermost(gap_s: float) -> None:
    place = int(bin_of(np.array([gap_s]))[0])
    assert 0 <= place < BINS
    assert EDGES_S[place] <= gap_s < EDGES_S[place + 1] or place in (0, BINS - 1)


def test_what_is_believed_at_first_is_a_distribution_over_all_gaps() -> None:
    shares = prior_shares()
    assert shares.sum() == pytest.approx(1.0) and (shares > 0).all()
