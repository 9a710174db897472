"""The worker's loop with scripted feeds, a scripted detector and a hand-turned clock."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY

from pipeline.adapters.addresses import parse_address
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.source_options import SourceOptions
from pipeline.adapters.supervised_feed import FeedConfig, SupervisedFeed
from pipeline.camera.hosted_camera import CameraParts, HostedCamera, in_view
from pipeline.camera.tracklets import TrackletCutter
from pipeline.camera.worker import CameraWorker, WorkerConfig
from pipeline.contracts import (
    CameraId,
    CameraState,
    CameraStatus,
    Detections,
    Frame,
    Image,
    TrackInView,
    TrackletCrops,
    Tracks,
)
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.interfaces import Clock, Feed
from tests.fakes import HandClock, painted

FPS = 10.0
BOX = np.array([[20.0, 10.0, 60.0, 110.0]], np.float32)


class ScriptedFeed:
    """`Feed` that gives one frame for each tenth of a second of its clock, a grey one, until it ends."""

    def __init__(self, camera_id: str, clock: HandClock, ends_after: int = 10**9) -> None:
        self.camera_id = CameraId(camera_id)
        self.clock = clock
        self.given = 0
        self.ends_after = ends_after
        self.is_closed = False
        self.colour = (90, 90, 90)
        self.began_at = clock.now()
        self.captured_at_shift_s = 0.0

    def take(self) -> Frame | None:
        due = int((self.clock.now() - self.began_at) * FPS + 1e-6) + 1
        if due <= self.given or self.given >= self.ends_after:
            return None
        self.given += 1
        captured_at = self.clock.now() + self.captured_at_shift_s
        return Frame(self.camera_id, painted(self.colour, 120, 160), captured_at, self.given)

    def status(self) -> CameraStatus:
        is_over = self.given >= self.ends_after
        return CameraStatus(
            camera_id=self.camera_id,
            state=CameraState.ENDED if is_over else CameraState.UP,
            reported_at=self.clock.now(),
            frame_at=None,
            width_px=160,
            height_px=120,
            analysed_fps=0.0,
            people=0,
            reconnects=0,
            detector="",
            address="rtsp://host/a",
        )

    def close(self) -> None:
        self.is_closed = True


class HostileFeed(ScriptedFeed):
    """Fails in every way a feed must not."""

    def take(self) -> Frame | None:
        frame = super().take()
        if frame is None:
            return None
        match self.given % 4:
            case 0:
                raise OSError("the stream bites")
            case 1:
                return Frame(
                    self.camera_id, painted((255, 255, 255), 120, 160), frame.captured_at, 1
                )  # upsets detectors
            case 2:
                return Frame(self.camera_id, np.zeros((0, 0, 3), np.uint8), frame.captured_at, 2)
            case _:
                return Frame(self.camera_id, frame.image, float("nan"), 3)


class OneBoxDetector:
    """`Detector` that finds one person in every frame; a white or empty picture makes it fail."""

    name = "one box"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.is_broken = False

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        self.batches.append([frame.camera_id for frame in frames])
        if self.is_broken or any(not frame.image.size or frame.image.min() == 255 for frame in frames):
            raise RuntimeError("cannot look at this")
        return [Detections(BOX, np.array([0.9], np.float32)) for _ in frames]


class OneTrack:
    """`Tracker` for which everybody is number 1; fails on times that are no numbers."""

    def update(self, detections: Detections, captured_at: float, image: Image | None = None) -> Tracks:
        if not captured_at == captured_at:
            raise ValueError("no time")
        return Tracks(np.ones(len(detections), np.int64), detections.boxes, detections.scores)


@dataclass
class ListOutbox:
    """`Outbox` that keeps what was sent."""

    is_blocked: bool = False
    sent: list[TrackletCrops] = field(default_factory=list)
    pumped: int = 0

    def send(self, messages: Sequence[TrackletCrops]) -> None:
        self.sent += messages

    def pump(self) -> int:
        self.pumped += 1
        return 0


class DictBoard:
    """`StatusBoard` that can be unreachable."""

    def __init__(self) -> None:
        self.newest: dict[str, CameraStatus] = {}
        self.pictures: dict[str, bytes | None] = {}
        self.trouble: Exception | None = None
        self.asked = 0

    def report(self, status: CameraStatus, snapshot_jpeg: bytes | None) -> None:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        self.newest[status.camera_id] = status
        self.pictures[status.camera_id] = snapshot_jpeg

    def statuses(self) -> list[CameraStatus]:
        return list(self.newest.values())

    def snapshot(self, camera_id: CameraId) -> bytes | None:
        return self.pictures.get(camera_id)


class Stage:
    """A worker among fakes."""

    def __init__(self, *feeds: Feed, clock: Clock, config: WorkerConfig | None = None) -> None:
        self.clock = clock
        self.detector = OneBoxDetector()
        self.outbox = ListOutbox()
        self.board = DictBoard()
        cameras = [HostedCamera(feed, _parts(feed.camera_id), "boot", clock) for feed in feeds]
        self.worker = CameraWorker(cameras, self.detector, self.outbox, self.board, clock, config or WorkerConfig())

    def works(self, duration_s: float) -> None:
        """Run the loop through a stretch of time."""
        until_s = self.clock.monotonic() + duration_s
        self.worker.run_once()
        while self.clock.monotonic() < until_s:
            self.clock.sleep(0.02)
            self.worker.run_once()


def _parts(camera_id: CameraId) -> CameraParts:
    return CameraParts(lambda _: OneTrack(), lambda boot_id: TrackletCutter(camera_id, boot_id))


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"sightline_{name}", labels) or 0.0


def test_frames_of_all_cameras_go_through_the_detector_together() -> None:
    clock = HandClock()
    on = Stage(ScriptedFeed("a1", clock), ScriptedFeed("a2", clock), clock=clock)
    on.works(1.0)
    assert set(map(tuple, on.detector.batches)) == {("a1", "a2")}


def test_people_become_tracklets_while_they_are_there_and_when_the_worker_stops() -> None:
    clock = HandClock()
    feed = ScriptedFeed("b1", clock)
    on = Stage(feed, clock=clock)
    on.works(7.0)
    on.worker.stop()
    assert [piece.sequence for piece in on.outbox.sent] == [0, 1, 2]
    assert [piece.is_last for piece in on.outbox.sent] == [False, False, True]
    assert sum(piece.detections for piece in on.outbox.sent) == feed.given
    assert feed.is_closed
    assert counted("tracklets_total", camera="b1") == 3


def test_one_hostile_camera_costs_the_others_nothing() -> None:
    clock = HandClock()
    good = [ScriptedFeed(f"c{n}", clock) for n in range(5)]
    on = Stage(*good, HostileFeed("c-hostile", clock), clock=clock)
    on.works(20.0)
    for feed in good:
        assert feed.given >= 200
        assert counted("frames_analysed_total", camera=feed.camera_id) == feed.given
        boots = {piece.boot_id for piece in on.outbox.sent if piece.camera_id == feed.camera_id}
        assert boots == {"boot"}  # their tracks were never interrupted


def test_a_suspect_camera_is_looked_at_apart_until_it_behaves() -> None:
    clock = HandClock()
    good, bad = ScriptedFeed("d1", clock), ScriptedFeed("d2", clock)
    on = Stage(good, bad, clock=clock)
    bad.colour = (255, 255, 255)
    on.works(2.0)
    on.detector.batches.clear()
    on.works(1.0)
    assert set(map(tuple, on.detector.batches)) == {("d1",), ("d2",)}
    bad.colour = (80, 80, 80)
    on.works(0.3)
    on.detector.batches.clear()
    on.works(1.0)
    assert set(map(tuple, on.detector.batches)) == {("d1", "d2")}


def test_a_detector_that_fails_for_everybody_ends_the_worker() -> None:
    clock = HandClock()
    on = Stage(ScriptedFeed("e1", clock), ScriptedFeed("e2", clock), clock=clock)
    on.detector.is_broken = True
    with pytest.raises(Unavailable, match="one box failed 20 times"):
        on.works(60.0)


def test_while_the_way_out_is_blocked_frames_are_dropped_and_counted() -> None:
    clock = HandClock()
    feed = ScriptedFeed("f1", clock)
    on = Stage(feed, clock=clock)
    on.works(0.5)
    analysed = counted("frames_analysed_total", camera="f1")
    on.outbox.is_blocked = True
    before = on.outbox.pumped
    on.works(2.0)
    assert counted("frames_analysed_total", camera="f1") == analysed
    assert counted("frames_dropped_total", camera="f1", reason="backpressure") == feed.given - analysed
    assert on.outbox.pumped > before  # it keeps trying
    on.outbox.is_blocked = False
    on.works(0.5)
    assert counted("frames_analysed_total", camera="f1") > analysed


def test_tracks_end_when_a_camera_falls_silent_and_later_ones_have_other_names() -> None:
    clock = HandClock()
    feed = ScriptedFeed("g1", clock, ends_after=10)
    feed.status = ScriptedFeed("g1", clock).status  # type: ignore[method-assign]  # silent, but not at its end
    on = Stage(feed, clock=clock)
    on.works(1.0)
    on.works(4.0)
    assert [piece.is_last for piece in on.outbox.sent] == [True]
    feed.ends_after = 10**9
    feed.given = int((clock.now() - feed.began_at) * FPS)
    on.works(2.0)
    on.worker.stop()
    assert Counter(Counter(piece.tracklet_id for piece in on.outbox.sent).values()).keys() == {1}
    assert {piece.boot_id for piece in on.outbox.sent} == {"boot", "boot-1"}


def test_tracks_begin_anew_when_time_goes_back() -> None:
    clock = HandClock()
    feed = ScriptedFeed("h1", clock)
    on = Stage(feed, clock=clock)
    on.works(2.0)
    feed.captured_at_shift_s = -3600.0
    on.works(2.0)
    on.worker.stop()
    assert {piece.boot_id for piece in on.outbox.sent} == {"boot", "boot-1"}
    assert all(0 <= piece.ended_at - piece.started_at < 5 for piece in on.outbox.sent)
    assert all(piece.sent_at >= feed.began_at for piece in on.outbox.sent)  # whatever the stream says


def test_the_worker_ends_with_its_recordings_and_only_if_told_so() -> None:
    clock = HandClock()
    on = Stage(ScriptedFeed("i1", clock, ends_after=20), clock=clock)
    on.worker.run(lambda: False)
    assert len(on.outbox.sent) == 2 and on.outbox.sent[-1].is_last

    clock = HandClock()
    on = Stage(ScriptedFeed("i2", clock, ends_after=20), clock=clock, config=WorkerConfig(ends_with_recordings=False))
    on.worker.run(lambda: clock.now() - 1_700_000_000.0 > 60.0)
    assert clock.now() - 1_700_000_000.0 > 60.0


def test_the_board_is_told_once_a_second_with_a_picture() -> None:
    clock = HandClock()
    on = Stage(ScriptedFeed("j1", clock), clock=clock)
    on.works(5.0)
    (status,) = on.board.statuses()
    assert (status.detector, status.people) == ("one box", 1)
    assert status.analysed_fps == pytest.approx(FPS, rel=0.1)
    assert on.board.asked <= 6
    picture = on.board.snapshot(CameraId("j1"))
    assert picture is not None and picture.startswith(b"\xff\xd8")
    assert status.boot_id == "boot"
    (seen,) = status.in_view
    assert all(0.0 <= edge <= 1.0 for edge in seen.box) and seen.box[0] < seen.box[2] and seen.box[1] < seen.box[3]


def test_boxes_are_shares_of_the_frame_and_end_at_its_edges() -> None:
    tracks = Tracks(np.array([7]), np.array([[-50, 90, 160, 400]], np.float32), np.ones(1, np.float32))
    frame = Frame(CameraId("a"), np.zeros((360, 640, 3), np.uint8), 1.0, 0)
    assert in_view(tracks, frame) == (TrackInView(track_id=7, box=(0.0, 0.25, 0.25, 1.0)),)
    assert in_view(tracks, None) == ()


@pytest.mark.parametrize("trouble", [Unavailable("no answer"), ConfigurationError("the password is refused")])
def test_a_board_that_fails_is_left_alone_for_a_while_and_frames_go_on(
    trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    clock = HandClock()
    feed = ScriptedFeed(f"k-{type(trouble).__name__}", clock)
    on = Stage(feed, clock=clock)
    on.board.trouble = trouble
    on.works(30.0)
    assert on.board.asked <= 4
    assert len([record for record in caplog.records if str(trouble) in record.getMessage()]) == on.board.asked
    assert counted("frames_analysed_total", camera=feed.camera_id) == feed.given


def test_a_configuration_error_of_the_detector_stops_the_worker_in_order() -> None:
    clock = HandClock()
    feed = ScriptedFeed("l1", clock)
    on = Stage(feed, clock=clock)

    def refuse(frames: Sequence[Frame]) -> list[Detections]:
        raise ConfigurationError("another model, please")

    on.detector.detect = refuse  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError):
        on.worker.run(lambda: False)
    assert feed.is_closed


def test_a_real_camera_beside_a_dead_and_a_lying_one_loses_nothing(tmp_path: Path) -> None:
    clip, lie = tmp_path / "clip.mp4", tmp_path / "lie.mp4"
    source = "testsrc2=size=160x120:rate=10:duration=4"
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        source,
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
        str(clip),
    ]
    subprocess.run(command, check=True, timeout=60)
    lie.write_text("no video\n" * 500)
    clock = SystemClock()
    options = SourceOptions(target_fps=None, in_real_time=False)
    feeds = [
        SupervisedFeed(CameraId(name), parse_address(address), FeedConfig(policy="every", source=options), clock, rng)
        for name, address, rng in (
            ("m-real", str(clip), random.Random(1)),
            ("m-dead", "rtsp://127.0.0.1:9/nothing", random.Random(2)),
            ("m-lie", str(lie), random.Random(3)),
        )
    ]
    on = Stage(*feeds, clock=clock)
    deadline_s = time.monotonic() + 60.0
    on.worker.run(lambda: feeds[0].status().state is CameraState.ENDED or time.monotonic() > deadline_s)
    assert counted("frames_analysed_total", camera="m-real") == 40
