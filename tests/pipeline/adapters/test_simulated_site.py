"""The simulated camera and its address."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.addresses import parse_address
from pipeline.adapters.simulated_site import (
    EPOCH_AT,
    SimulatedAddress,
    SimulatedCamera,
    open_simulated,
    parse_simulated_address,
)
from pipeline.adapters.source_options import SourceOptions
from pipeline.contracts import CameraId, Frame
from pipeline.errors import ConfigurationError, StreamEnded


class HandTurnedClock:
    """Time goes on only by sleeping."""

    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def sleep(self, duration_s: float) -> None:
        self._now += max(0.0, duration_s)


def frames_of(camera: SimulatedCamera) -> list[Frame]:
    frames = []
    with pytest.raises(StreamEnded):
        while True:
            frames.append(camera.read())
    return frames


addresses = st.builds(
    SimulatedAddress,
    seed=st.integers(0, 10**6),
    cameras=st.just(4),
    camera=st.integers(0, 3),
    people=st.integers(1, 500),
    fps=st.sampled_from((0.5, 7.5, 10.0, 25.0)),
    size_px=st.sampled_from(((640, 360), (64, 3840))),
    start_at=st.none() | st.floats(0, 4e9),
    is_virtual=st.booleans(),
    duration_s=st.none() | st.sampled_from((0.5, 60.0)),
)


@given(addresses)
def test_an_address_survives_being_written_and_read(address: SimulatedAddress) -> None:
    assert parse_simulated_address(str(address)) == address


def test_the_place_and_every_key_may_be_left_out() -> None:
    assert parse_simulated_address("simulated://") == parse_simulated_address("simulated://site?") == SimulatedAddress()


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("sed=7", "'sed' is unknown.*known keys: seed, cameras"),
        ("seed=7&seed=8", "seed stands twice"),
        ("seed=seven", "seed='seven'.*whole number"),
        ("seed=-1", "seed=-1"),
        ("cameras=9", "cameras=9.*1 to 8"),
        ("cameras=2&camera=2", "camera=2.*0 to 1"),
        ("people=0", "people=0"),
        ("fps=0", "fps=0"),
        ("fps=nan", "fps=nan"),
        ("size=640", "size='640'.*640x360"),
        ("size=641x360", "size=641x360.*even"),
        ("size=0x0", "size=0x0"),
        ("start=inf", "start=inf"),
        ("clock=fast", "clock='fast'.*real or virtual"),
        ("duration=-1", "duration=-1"),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_the_remedy(query: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_simulated_address(f"simulated://site?{query}")


@pytest.mark.parametrize("text", ["rtsp://host/1", "simulated://elsewhere?seed=1", "simulated:seed=1"])
def test_something_else_than_a_simulated_camera_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"expected simulated://site\?"):
        parse_simulated_address(text)


def test_a_virtual_clock_gives_each_frame_of_the_rate_without_waiting() -> None:
    address = SimulatedAddress(fps=20, is_virtual=True, start_at=1000.0, duration_s=1.0, people=2)
    frames = frames_of(SimulatedCamera(CameraId("gate"), address, HandTurnedClock(0.0)))
    assert [frame.captured_at for frame in frames] == pytest.approx([1000 + k / 20 for k in range(20)])
    assert [frame.index for frame in frames] == list(range(20))
    assert {(frame.camera_id, frame.image.shape, frame.image.dtype) for frame in frames} == {
        ("gate", (360, 640, 3), np.dtype(np.uint8))
    }


def test_a_real_clock_gives_frames_at_their_time() -> None:
    clock = HandTurnedClock(EPOCH_AT + 100.03)
    camera = SimulatedCamera(CameraId("gate"), SimulatedAddress(people=2), clock)
    for captured_s in (100.0, 100.1, 100.2):
        assert camera.read().captured_at == pytest.approx(EPOCH_AT + captured_s)
        assert clock.now() >= EPOCH_AT + captured_s


def test_a_late_reader_gets_the_newest_frame() -> None:
    clock = HandTurnedClock(EPOCH_AT)
    camera = SimulatedCamera(CameraId("gate"), SimulatedAddress(people=2), clock)
    camera.read()
    clock.sleep(5.04)
    assert camera.read().captured_at == pytest.approx(EPOCH_AT + 5.0)


def test_a_real_camera_waits_for_the_start_of_its_site_and_ends_after_its_duration() -> None:
    clock = HandTurnedClock(990.0)
    address = SimulatedAddress(start_at=1000.0, duration_s=0.5, people=2)
    frames = frames_of(SimulatedCamera(CameraId("gate"), address, clock))
    assert [frame.captured_at for frame in frames] == pytest.approx([1000.0, 1000.1, 1000.2, 1000.3, 1000.4])


def test_an_opened_address_keeps_to_the_target_rate() -> None:
    address = parse_address(str(SimulatedAddress(fps=20, is_virtual=True, duration_s=1.0, people=2)))
    camera = open_simulated(CameraId("gate"), address, SourceOptions(target_fps=5.0), HandTurnedClock(0.0))
    assert [frame.captured_at - EPOCH_AT for frame in frames_of(camera)] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])


def test_another_process_renders_the_same_picture() -> None:
    address = SimulatedAddress(seed=3, people=8, camera=2, is_virtual=True)
    image = SimulatedCamera(CameraId("gate"), address, HandTurnedClock(0.0)).read().image
    program = (
        "import hashlib; from pipeline.adapters.simulated_site import *\n"
        f"address = parse_simulated_address({str(address)!r})\n"
        "print(hashlib.sha256(SimulatedCamera('other', address, None).read().image.tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert other.stdout.strip() == hashlib.sha256(image.tobytes()).hexdigest()
