"""The supervisor's rules with a scripted decoder and a hand-turned clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from pipeline.adapters.addresses import parse_address
from pipeline.adapters.decoder_process import DecodeRequest, DecoderEvent, EventKind
from pipeline.adapters.frame_slot import FrameSlot
from pipeline.adapters.source_options import SourceCounts, SourceOptions
from pipeline.adapters.supervised_feed import FeedConfig, SupervisedFeed, pause_s
from pipeline.contracts import CameraId, CameraState
from tests.fakes import HandClock

IMAGE = np.zeros((4, 6, 3), np.uint8)
SMALL = SourceOptions(max_pixels=100)


@dataclass
class ScriptedDecoder:
    """`Decoder` whose test says what happens. `gives` puts a frame."""

    request: DecodeRequest
    slot: FrameSlot
    events: list[DecoderEvent] = field(default_factory=list)
    exit: str | None = None
    is_killed: bool = False
    taken: int = 0
    counts: SourceCounts = field(default_factory=SourceCounts)

    def gives(self, frames: int = 1, skipped: int = 0) -> None:
        for _ in range(frames):
            self.counts.decoded += 1 + skipped
            self.slot.put(IMAGE, self.counts.decoded - 1, float(self.counts.decoded))
            self.slot.note(self.counts)

    def says(self, kind: EventKind, text: str = "") -> None:
        self.events.append(DecoderEvent(kind, text))

    def next_event(self) -> DecoderEvent | None:
        return self.events.pop(0) if self.events else None

    def frame_taken(self) -> None:
        self.taken += 1

    def exit_note(self) -> str | None:
        return self.exit

    def stop(self) -> None:
        self.is_killed = True

    def kill(self) -> None:
        self.is_killed = True


class Stage:
    """A feed, its clock, and the decoders it started."""

    def __init__(self, camera_id: str, address: str, config: FeedConfig) -> None:
        self.clock = HandClock()
        self.decoders: list[ScriptedDecoder] = []
        self.camera_id = camera_id
        self.feed = SupervisedFeed(
            CameraId(camera_id), parse_address(address), config, self.clock, random.Random(1), self._start
        )

    def _start(self, request: DecodeRequest, slot: FrameSlot) -> ScriptedDecoder:
        self.decoders.append(ScriptedDecoder(request, slot))
        return self.decoders[-1]

    @property
    def decoder(self) -> ScriptedDecoder:
        return self.decoders[-1]

    @property
    def state(self) -> CameraState:
        return self.feed.status().state

    def passes(self, duration_s: float, look_every_s: float = 0.05) -> None:
        for _ in range(round(duration_s / look_every_s)):
            self.clock.sleep(look_every_s)
            self.feed.take()

    def counted(self, name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"sightline_{name}", {"camera": self.camera_id} | labels) or 0.0


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Callable[..., Stage]]:
    stages: list[Stage] = []

    def make(address: str = "rtsp://joe:hunter2@host/a", config: FeedConfig | None = None) -> Stage:
        stages.append(Stage(f"{request.node.name[:50]}", address, config or FeedConfig(source=SMALL)))
        stages[-1].feed.take()
        return stages[-1]

    yield make
    for one in stages:
        one.feed.close()


MakeStage = Callable[..., Stage]


@given(st.integers(1, 2000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_from_about_one_second_to_a_minute(failures: int, draw: float) -> None:
    assert 0.75 <= pause_s(failures, draw) <= 60.0
    assert pause_s(failures, draw) <= 2.0 ** min(failures - 1, 6)
    if failures > 6:
        assert pause_s(failures, draw) >= 45.0


def test_the_newest_frame_is_given_and_older_ones_are_counted(stage: MakeStage) -> None:
    on = stage()
    on.decoder.gives(3, skipped=4)
    frame = on.feed.take()
    assert frame is not None and frame.index == 14 and frame.captured_at == 15.0
    assert on.feed.take() is None
    assert on.counted("frames_in_total") == 15
    assert on.counted("frames_dropped_total", reason="rate") == 12
    assert on.counted("frames_dropped_total", reason="late") == 2
    assert on.state is CameraState.UP and on.counted("camera_up") == 1


def test_every_frame_is_analysed_or_counted_as_dropped(stage: MakeStage) -> None:
    on = stage()
    rng, taken = random.Random(3), 0
    for _ in range(200):
        on.decoder.gives(rng.randrange(3), skipped=rng.randrange(3))
        if rng.random() < 0.05:
            on.decoder.says(EventKind.LOST, "gone")
        taken += on.feed.take() is not None
        while on.state is CameraState.DOWN:
            on.clock.sleep(1.0)
    on.feed.close()
    dropped = sum(on.counted("frames_dropped_total", reason=reason) for reason in ("rate", "late"))
    assert on.counted("frames_in_total") == taken + dropped > 200


def test_a_stall_kills_the_child_and_a_new_one_is_started(stage: MakeStage) -> None:
    on = stage(config=FeedConfig(stall_after_s=5.0, source=SMALL))
    on.decoder.gives()
    on.passes(4.8)
    assert on.state is CameraState.UP
    on.passes(0.5)
    assert on.state is CameraState.STALLED and on.decoders[0].is_killed
    assert on.counted("camera_stalls_total") == 1 and on.counted("camera_up") == 0
    on.passes(1.0)
    assert len(on.decoders) == 2
    on.decoder.gives()
    on.passes(0.1)
    assert on.feed.status().reconnects == 1 == on.counted("camera_reconnects_total")


def test_time_in_which_nobody_looked_is_no_stall(stage: MakeStage) -> None:
    on = stage()
    on.decoder.gives()
    on.passes(1.0)
    on.clock.sleep(3600.0)  # the machine slept
    on.passes(1.0)
    assert on.state is CameraState.UP


def test_a_camera_slower_than_the_stall_time_is_not_killed(stage: MakeStage) -> None:
    on = stage(config=FeedConfig(source=replace(SMALL, target_fps=0.1)))
    for _ in range(5):
        on.decoder.gives()
        on.passes(10.0)
    assert len(on.decoders) == 1


def test_a_live_camera_is_never_given_up_and_the_pauses_grow(stage: MakeStage) -> None:
    on = stage()
    for _ in range(2000):
        if on.state is CameraState.CONNECTING:
            on.decoder.says(EventKind.LOST, "connection refused")
        on.passes(1.0, look_every_s=1.0)
    assert 30 < len(on.decoders) < 50  # 2,000 s with pauses up to a minute
    assert on.state is not CameraState.ENDED


def test_failures_are_forgotten_after_a_while_of_frames(stage: MakeStage) -> None:
    on = stage()
    for _ in range(5):
        on.decoder.says(EventKind.LOST, "reset")
        on.passes(0.1)
        while on.state is not CameraState.CONNECTING:
            on.clock.sleep(1.0)
    for _ in range(24):
        on.decoder.gives()
        on.passes(0.5)
    before = len(on.decoders)
    assert on.feed.status().last_error == ""
    on.decoder.says(EventKind.LOST, "reset")
    on.passes(1.2)
    assert len(on.decoders) == before + 1


def test_a_camera_that_answers_again_is_opened_at_once(stage: MakeStage) -> None:
    on = stage()
    for _ in range(8):  # by now the pause is a minute
        on.decoder.says(EventKind.LOST, "no route to host")
        on.passes(0.1)
        on.passes(60.0, look_every_s=1.0)
    on.decoder.says(EventKind.LOST, "no route to host")
    on.passes(2.0)
    before = len(on.decoders)
    on.decoder.says(EventKind.BACK)
    on.passes(0.1)
    assert len(on.decoders) == before + 1
    assert on.decoders[-2].is_killed


def test_a_recording_ends_after_its_last_frame_was_given(stage: MakeStage) -> None:
    on = stage("clip.mp4")
    on.decoder.gives()
    on.decoder.says(EventKind.ENDED)
    assert on.state is CameraState.UP
    assert on.feed.take() is not None
    assert on.state is CameraState.ENDED
    on.passes(100.0, look_every_s=1.0)
    assert len(on.decoders) == 1


def test_a_recording_that_breaks_is_not_shown_twice(stage: MakeStage) -> None:
    on = stage("clip.mp4")
    on.decoder.gives()
    on.decoder.exit = "the decoder process ended with code -11"
    on.passes(100.0, look_every_s=1.0)
    assert len(on.decoders) == 1
    assert on.state is CameraState.ENDED and "code -11" in on.feed.status().last_error


def test_a_looping_recording_that_breaks_is_started_again(stage: MakeStage) -> None:
    on = stage("clip.mp4", FeedConfig(source=replace(SMALL, loop=True)))
    on.decoder.exit = "the decoder process ended with code -11"
    on.passes(3.0)
    assert len(on.decoders) == 2


def test_a_reader_that_rests_is_no_stall_where_every_frame_counts(stage: MakeStage) -> None:
    on = stage("clip.mp4", FeedConfig(policy="every", source=SMALL))
    on.decoder.gives()
    for _ in range(1000):
        on.clock.sleep(1.0)
        assert on.state is CameraState.UP  # looks, but takes nothing
    assert on.feed.take() is not None
    assert on.decoder.taken == 1


def test_no_process_to_be_had_is_a_failure_like_any_other() -> None:
    def refuse(request: DecodeRequest, slot: FrameSlot) -> ScriptedDecoder:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    clock = HandClock()
    config = FeedConfig(source=SMALL)
    feed = SupervisedFeed(CameraId("x"), parse_address("rtsp://h/a"), config, clock, random.Random(1), refuse)
    assert feed.take() is None
    assert feed.status().state is CameraState.DOWN
    assert "Resource temporarily unavailable" in feed.status().last_error
    feed.close()


def test_the_password_reaches_the_decoder_alone(stage: MakeStage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    on = stage()
    on.decoder.exit = "crashed in open('rtsp://joe:hunter2@host/a') with hunter2"
    on.passes(2.0)
    shown = f"{on.feed.status()!r} {on.feed.status()} {caplog.text} {on.decoder.request!r} {vars(on.feed)}"
    assert "hunter2" not in shown
    assert on.feed.status().last_error
    assert on.decoder.request.address == "rtsp://joe:hunter2@host/a"
