from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.frame_times import LiveTimes, RateGate, RecordedTimes
from pipeline.errors import StreamLost

pts_or_none = st.one_of(st.none(), st.floats(-1e5, 1e5))
pauses = st.floats(0.0, 3.0)


@given(st.lists(st.tuples(pts_or_none, pauses), min_size=1, max_size=60))
def test_live_times_never_go_back_nor_into_the_future(pictures: list[tuple[float | None, float]]) -> None:
    times, received_at, last_at = LiveTimes(), 1e9, 0.0
    for pts_s, pause_s in pictures:
        received_at += pause_s
        captured_at = times.at(pts_s, received_at)
        assert last_at <= captured_at <= received_at + 1e-6
        last_at = captured_at


@given(st.lists(st.floats(0.0, 0.2), min_size=40, max_size=40), st.floats(-400e-6, 400e-6))
def test_live_times_are_paced_by_the_camera_and_not_by_the_network(delays_s: list[float], drift: float) -> None:
    arrivals = list(accumulate((n * 0.04 + delay_s for n, delay_s in enumerate(delays_s)), max))
    times = LiveTimes()
    captured = [times.at(n * 0.04 * (1 + drift), 1e6 + arrived_s) for n, arrived_s in enumerate(arrivals)]
    first_prompt = min(range(40), key=lambda n: arrivals[n] - n * 0.04)
    steps = [later - earlier for earlier, later in pairwise(captured[first_prompt:])]
    assert all(step == pytest.approx(0.04, abs=0.003) for step in steps)


def test_a_camera_whose_clock_was_set_is_anchored_afresh() -> None:
    times = LiveTimes()
    times.at(100.0, 1000.0)
    assert times.at(5000.0, 1000.04) == pytest.approx(1000.04)
    assert times.at(5000.04, 1000.08) == pytest.approx(1000.08)


def test_a_clock_of_this_machine_that_is_set_back_ends_the_stream() -> None:
    times = LiveTimes()
    times.at(1.0, 5000.0)
    with pytest.raises(StreamLost, match="went back by 3600 s"):
        times.at(1.04, 1400.0)


@given(st.lists(pts_or_none, min_size=1, max_size=60))
def test_recorded_times_always_grow(pts: list[float | None]) -> None:
    times = RecordedTimes(starts_at=1e9, frame_s=0.04)
    captured = [times.at(pts_s) for pts_s in pts]
    assert captured[0] == 1e9
    assert all(earlier < later for earlier, later in pairwise(captured))


def test_a_looping_recording_goes_on_in_time() -> None:
    times = RecordedTimes(starts_at=100.0, frame_s=0.5)
    assert [times.at(pts_s) for pts_s in (7.0, 7.5)] == [100.0, 100.5]
    times.begin_again()
    assert [times.at(pts_s) for pts_s in (7.0, 7.5)] == [101.0, 101.5]


def test_a_recording_that_plays_as_a_camera_does_not_fall_behind() -> None:
    times = RecordedTimes(starts_at=100.0, frame_s=0.5)
    times.at(0.0)
    assert times.caught_up(now=100.9) == 100.0
    assert times.caught_up(now=160.0) == 160.0
    assert times.at(0.5) == 160.5


@given(st.floats(1.0, 60.0), st.floats(1.0, 30.0))
def test_the_gate_admits_the_target_rate_or_everything_slower(stream_fps: float, target_fps: float) -> None:
    gate = RateGate(target_fps)
    admitted = sum(gate.admits(n / stream_fps) for n in range(int(stream_fps * 20)))
    assert admitted / 20 == pytest.approx(min(stream_fps, target_fps), rel=0.1, abs=0.1)


def test_the_gate_goes_on_after_a_gap_and_after_a_step_back() -> None:
    gate = RateGate(10.0)
    assert [gate.admits(at) for at in (0.0, 0.05, 500.0, 500.05, 3.0, 3.05, 3.1)] == [1, 0, 1, 0, 1, 0, 1]


def test_no_target_admits_everything() -> None:
    assert all(RateGate(None).admits(at) for at in (0.0, 0.0, -5.0))
