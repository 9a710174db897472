"""Real streams over real sockets, decoded in real child processes: RTSP by GStreamer, MJPEG by a small HTTP server."""

from __future__ import annotations

import contextlib
import http.server
import logging
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.adapters.addresses import parse_address
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.knock import answers
from pipeline.adapters.source_options import SourceOptions
from pipeline.adapters.supervised_feed import FeedConfig, SupervisedFeed
from pipeline.contracts import CameraId, CameraState, Frame
from tests.fakes import jpeg, painted
from tests.rtsp_server import RtspServer, rtsp_server, unavailable

USER, PASSWORD = "joe", "hunter2-secret"
CAMERA = SourceOptions(target_fps=10.0, open_timeout_s=3.0)

needs_rtsp = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "RTSP works")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "clip.mp4"
    source = "testsrc2=size=320x240:rate=10:duration=4"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-g", "5", "-bf", "0"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", str(path)], check=True, timeout=60)
    return path


@pytest.fixture
def server(clip: Path) -> Iterator[RtspServer]:
    with rtsp_server({"gate": clip}, user=USER, password=PASSWORD) as running:
        yield running


@contextlib.contextmanager
def opened(address: str, config: FeedConfig | None = None) -> Iterator[SupervisedFeed]:
    feed = SupervisedFeed(
        CameraId("gate"), parse_address(address), config or FeedConfig(source=CAMERA), SystemClock(), random.Random(1)
    )
    try:
        yield feed
    finally:
        feed.close()


def frames_of(feed: SupervisedFeed, count: int, patience_s: float = 30.0) -> list[Frame]:
    frames: list[Frame] = []
    wait_until(
        lambda: (frame := feed.take()) is not None and (frames.append(frame) or len(frames) >= count), patience_s
    )
    return frames


def wait_until(is_so: Callable[[], object], patience_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline_s, "it never came to that"
        time.sleep(0.01)


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid=,args="], capture_output=True, text=True, check=False)
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "decode_child" in line]


@needs_rtsp
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp_frames_arrive_in_order_and_in_time(transport: str, server: RtspServer) -> None:
    options = SourceOptions(target_fps=10.0, transport="udp" if transport == "udp" else "tcp")
    with opened(server["gate"], FeedConfig(source=options)) as feed:
        frames = frames_of(feed, 15)
    captured = [frame.captured_at for frame in frames]
    assert captured == sorted(captured)
    assert all(frame.image.shape == (240, 320, 3) and frame.image.std() > 20 for frame in frames)
    assert abs(captured[-1] - time.time()) < 5.0


@needs_rtsp
def test_a_camera_that_loses_its_power_comes_back(server: RtspServer) -> None:
    with opened(server["gate"]) as feed:
        frames_of(feed, 3)
        server.kill()
        wait_until(lambda: feed.take() is None and feed.status().state is CameraState.DOWN)
        wait_until(lambda: feed.take() is None and not answers(parse_address(server["gate"])))
        server.start()
        frames_of(feed, 3)
        assert feed.status().reconnects == 1


@needs_rtsp
def test_a_camera_that_hangs_is_killed_and_opened_again(server: RtspServer) -> None:
    with opened(server["gate"], FeedConfig(stall_after_s=1.0, source=CAMERA)) as feed:
        frames_of(feed, 3)
        (stalled,) = children_of(os.getpid())
        server.freeze()
        wait_until(lambda: feed.take() is None and feed.status().state is CameraState.STALLED)
        assert stalled not in children_of(os.getpid())
        server.thaw()
        frames_of(feed, 3)


@needs_rtsp
def test_a_wrong_password_is_told_and_shown_to_nobody(server: RtspServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with opened(server["gate"].replace(PASSWORD, "wrong-" + PASSWORD)) as feed:
        wait_until(lambda: feed.take() is None and feed.status().state is CameraState.DOWN)
        status = feed.status()
    assert "user name or password is wrong (401)" in status.last_error
    assert PASSWORD not in f"{status!r} {caplog.text} {feed!r}"


@needs_rtsp
def test_the_password_does_not_stand_in_the_list_of_processes(server: RtspServer) -> None:
    with opened(server["gate"]) as feed:
        frames_of(feed, 1)
        (child,) = children_of(os.getpid())
        assert PASSWORD not in Path(f"/proc/{child}/cmdline").read_text()
        assert PASSWORD not in Path(f"/proc/{child}/environ").read_text()


@needs_rtsp
def test_a_missing_stream_is_told(server: RtspServer) -> None:
    with opened(server["gate"] + "-not") as feed:
        wait_until(lambda: feed.take() is None and feed.status().state is CameraState.DOWN)
        assert "there is no such stream (404)" in feed.status().last_error


@needs_rtsp
def test_a_server_answers_a_knock_until_it_hangs(server: RtspServer) -> None:
    address = parse_address(server["gate"])
    assert answers(address)
    server.freeze()
    assert not answers(address, patience_s=0.3)
    server.thaw()
    assert answers(address)
    server.kill()
    assert not answers(address)


def test_closing_a_feed_leaves_no_process_and_no_descriptor_behind(clip: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(2):
        with opened(str(clip)) as feed:
            frames_of(feed, 2)
    assert children_of(os.getpid()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_child_that_crashes_is_replaced(clip: Path) -> None:
    with opened(str(clip), FeedConfig(source=SourceOptions(loop=True))) as feed:
        frames_of(feed, 2)
        (child,) = children_of(os.getpid())
        os.kill(child, signal.SIGSEGV)
        wait_until(lambda: feed.take() is None and feed.status().state is CameraState.DOWN)
        assert "code -11" in feed.status().last_error
        frames_of(feed, 2)


def test_no_child_outlives_its_worker(clip: Path) -> None:
    program = f"""
        import random, time
        from pipeline.adapters.addresses import parse_address
        from pipeline.adapters.clock import SystemClock
        from pipeline.adapters.source_options import SourceOptions
        from pipeline.adapters.supervised_feed import FeedConfig, SupervisedFeed
        from pipeline.contracts import CameraId
        config = FeedConfig(source=SourceOptions(loop=True))
        feed = SupervisedFeed(CameraId("x"), parse_address({str(clip)!r}), config, SystemClock(), random.Random(1))
        while feed.take() is None:
            time.sleep(0.01)
        print("up", flush=True)
        time.sleep(60)
    """
    worker = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    with worker:
        assert worker.stdout is not None and worker.stdout.readline() == "up\n"
        (child,) = children_of(worker.pid)
        worker.kill()
    wait_until(lambda: not _is_running(child))


def test_the_child_does_without_the_heavy_libraries(clip: Path) -> None:
    with opened(str(clip), FeedConfig(source=SourceOptions(loop=True))) as feed:
        frames_of(feed, 1)
        (child,) = children_of(os.getpid())
        mapped = Path(f"/proc/{child}/maps").read_text()
    assert "libavcodec" in mapped
    assert not any(name in mapped for name in ("torch", "onnxruntime", "cv2"))


def test_with_the_policy_every_no_frame_is_dropped(clip: Path) -> None:
    source = SourceOptions(target_fps=None, in_real_time=False, starts_at=0.0)
    with opened(str(clip), FeedConfig(policy="every", source=source)) as feed:
        captured = []
        while (frame := feed.take()) is not None or feed.status().state is not CameraState.ENDED:
            if frame is not None:
                captured.append(frame.captured_at)
                time.sleep(0.01)  # slower than the decoder
    assert captured == pytest.approx([n / 10 for n in range(40)])


def test_a_file_that_is_no_video_ends_its_feed_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "words.mp4"
    path.write_text("no video\n" * 500)
    with opened(str(path)) as feed:
        wait_until(lambda: feed.take() is None and feed.status().state is CameraState.ENDED)
        assert "words.mp4" in feed.status().last_error and "expected a readable video" in feed.status().last_error


def test_a_simulated_camera_is_a_camera_like_any_other() -> None:
    with opened("simulated://site?seed=3&size=320x180") as feed:
        assert {frame.image.shape for frame in frames_of(feed, 3)} == {(180, 320, 3)}


class MjpegCamera(http.server.BaseHTTPRequestHandler):
    """Multipart JPEG as cheap cameras send it; asks for a password."""

    def do_GET(self) -> None:
        if "Basic" not in self.headers.get("Authorization", ""):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for number in range(1000):
                picture = jpeg(painted((number * 5 % 256, 100, 50), 120, 160))
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                self.wfile.write(head.encode() + picture + b"\r\n")
                time.sleep(0.1)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def mjpeg_address() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), MjpegCamera) as camera:
        camera.daemon_threads = True
        serving = threading.Thread(target=camera.serve_forever, daemon=True)
        serving.start()
        yield f"http://{USER}:{PASSWORD}@127.0.0.1:{camera.server_port}/video"
        camera.shutdown()
        serving.join()


def test_mjpeg_over_http_is_timed_by_its_arrival(mjpeg_address: str) -> None:
    with opened(mjpeg_address) as feed:
        frames = frames_of(feed, 12)
        assert PASSWORD not in repr(feed.status())
    assert {frame.image.shape for frame in frames} == {(120, 160, 3)}
    # 25 frames per second, which FFmpeg makes up for such streams, would be 0.04 s.
    assert (frames[-1].captured_at - frames[2].captured_at) / (frames[-1].index - frames[2].index) > 0.08


def _is_running(process_id: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process_id}/status").read_text()
    except FileNotFoundError:
        return False
