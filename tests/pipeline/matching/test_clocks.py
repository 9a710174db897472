"""Whose clock is wrong, by when tracklets come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts import F64, I64
from pipeline.matching.clocks import clock_changes

FAST_S = np.array([180.0, 0.0, -95.0, 0.0, 0.0])


def tracks(count: int, seed: int = 1, cameras: int = 5, busiest: float = 1.0) -> tuple[I64, F64, F64]:
    """Cameras, true beginnings, and waits of some two seconds, of so many tracks; one camera sees more than others."""
    rng = np.random.default_rng(seed)
    shares = np.array([busiest, *[1.0] * (cameras - 1)])
    at = rng.choice(cameras, count, p=shares / shares.sum()).astype(np.int64)
    return at, np.sort(rng.uniform(0, 20.0 * count, count)), rng.uniform(1.0, 3.0, count)


def changes(at: I64, began: F64, waits_s: F64, fast_s: F64) -> F64:
    """As the cameras' own clocks tell it."""
    return clock_changes(at, began + fast_s[at], waits_s - fast_s[at], len(fast_s))


@settings(max_examples=25)
@given(st.integers(0, 99), st.floats(1.0, 20.0))
def test_wrong_clocks_are_found_however_busy_a_camera_is(seed: int, busiest: float) -> None:
    at, began, waits_s = tracks(600, seed, busiest=busiest)
    found = changes(at, began, waits_s, FAST_S)
    assert found == pytest.approx(FAST_S, abs=3.0)
    assert (found[FAST_S == 0] == 0).all()


def test_right_clocks_and_small_differences_are_left_alone() -> None:
    assert not changes(*tracks(600), np.zeros(5)).any()
    assert not changes(*tracks(600), np.array([6.0, 0.0, -6.0, 0.0, 0.0])).any()


def test_a_matcher_that_was_away_makes_nobodys_clock_slow() -> None:
    """Half an hour of tracklets is decided at once; the quiet camera has most of its tracks from before."""
    at, began, waits_s = tracks(600, cameras=3, busiest=30.0)
    away = began > began[-1] - 1800.0
    waits_s = np.where(away, began[-1] - began + waits_s, waits_s)
    order = np.argsort(began + waits_s, kind="stable")
    assert not changes(at[order], began[order], waits_s[order], np.zeros(3)).any()
    found = changes(at[order], began[order], waits_s[order], FAST_S[:3])
    assert found == pytest.approx(FAST_S[:3], abs=15.0)


def test_a_camera_whose_tracklets_were_held_up_for_a_while_has_no_slow_clock() -> None:
    at, began, waits_s = tracks(600, cameras=3)
    is_held = (at == 0) & (began > began[200])
    waits_s = np.where(is_held, began[-1] - began + 60.0, waits_s)
    order = np.argsort(began + waits_s, kind="stable")
    assert not changes(at[order], began[order], waits_s[order], np.zeros(3)).any()


def test_what_is_not_noted_and_what_is_too_little_tells_nothing() -> None:
    at, began, waits_s = tracks(600)
    assert not changes(at, began, np.full(600, np.nan), FAST_S).any()
    assert not changes(at[:6], began[:6], waits_s[:6], FAST_S).any()
    assert clock_changes(at[:0], began[:0], waits_s[:0], 5).tolist() == [0.0] * 5
    assert clock_changes(at[:1], began[:1], waits_s[:1], 5).tolist() == [0.0] * 5
    assert not clock_changes(np.zeros(50, np.int64), began[:50], waits_s[:50], 1).any()
