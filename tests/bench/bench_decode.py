"""The camera worker without detection against `ffmpeg -f null`, which decodes the same 1080p H.264 and no more.

The worker runs as in production: child process, shared memory, target rate of 8 frames per second of video, tracker and
cutter; only the detector finds nobody. Both are timed from start to exit, so each pays for its own start. They take
turns on the same cores; each ratio is the median over the rounds.
"""

from __future__ import annotations

import json
import random
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.adapters.addresses import parse_address
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.source_options import SourceOptions
from pipeline.adapters.supervised_feed import FeedConfig, SupervisedFeed
from pipeline.camera.hosted_camera import CameraParts, HostedCamera
from pipeline.camera.tracker import ByteTracker
from pipeline.camera.tracklets import TrackletCutter
from pipeline.camera.worker import CameraWorker, WorkerConfig
from pipeline.contracts import CameraId, CameraStatus, Detections, Frame, TrackletCrops
from pipeline.metrics import FRAMES_IN

ROUNDS = 5
PIECE_S, PIECES, VIDEO_FPS = 20, 4, 25
FRAMES = PIECE_S * PIECES * VIDEO_FPS
PIECE = f"testsrc2=size=1920x1080:rate={VIDEO_FPS}:duration={PIECE_S}"


class Nobody:
    """`Detector` without any work; `Outbox` and `StatusBoard` without any reader."""

    name = "nobody"
    is_blocked = False

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        return [Detections.none() for _ in frames]

    def send(self, messages: Sequence[TrackletCrops]) -> None: ...

    def pump(self) -> int:
        return 0

    def report(self, status: CameraStatus, snapshot_jpeg: bytes | None) -> None: ...

    def statuses(self) -> list[CameraStatus]:
        return []

    def snapshot(self, camera_id: CameraId) -> bytes | None: ...


def main(result: Path | None = None) -> None:
    """Print the table, and write the numbers to `result`."""
    if shutil.which("ffmpeg") is None:
        raise SystemExit("ffmpeg is missing; `apt-get install ffmpeg`")
    with tempfile.TemporaryDirectory() as folder:
        clip = _noisy_clip(Path(folder))
        rounds = [_round(clip, number) for number in range(ROUNDS)]
    figures = {
        "worker / ffmpeg, frames per second": _ratio(rounds, "worker (frames/s)", "ffmpeg -f null (frames/s)"),
        "worker / ffmpeg, processor time per frame": _ratio(rounds, "worker (ms/frame)", "ffmpeg -f null (ms/frame)"),
        **{name: statistics.median(each[name] for each in rounds) for name in rounds[0]},
    }
    _show(figures, Console())
    if result is not None:
        result.write_text(json.dumps(figures, indent=2) + "\n")


def _noisy_clip(folder: Path) -> Path:
    """A piece with noise as a night camera has it, several times in a row."""
    piece, clip = folder / "piece.mp4", folder / "clip.mp4"
    ffmpeg = ["ffmpeg", "-v", "error", "-nostdin"]
    encoding = ["-vf", "noise=alls=12:allf=t", "-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency"]
    shape = ["-g", "50", "-b:v", "4M", "-pix_fmt", "yuv420p"]
    subprocess.run([*ffmpeg, "-f", "lavfi", "-i", PIECE, *encoding, *shape, str(piece)], check=True)
    subprocess.run([*ffmpeg, "-stream_loop", str(PIECES - 1), "-i", str(piece), "-c", "copy", str(clip)], check=True)
    return clip


def _round(clip: Path, number: int) -> dict[str, float]:
    peers: list[tuple[str, Callable[[], None]]] = [
        ("ffmpeg -f null", lambda: _ffmpeg(clip)),
        ("worker", lambda: _worker(clip, f"bench-{number}")),
    ]
    figures: dict[str, float] = {}
    for name, work in peers if number % 2 else reversed(peers):
        cpu_s, wall_s = _cpu_s(), time.perf_counter()
        work()
        wall_s, cpu_s = time.perf_counter() - wall_s, _cpu_s() - cpu_s
        figures[f"{name} (frames/s)"] = FRAMES / wall_s
        figures[f"{name} (ms/frame)"] = 1000.0 * cpu_s / (FRAMES)
    return figures


def _ffmpeg(clip: Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", str(clip), "-f", "null", "-"], check=True)


def _worker(clip: Path, name: str) -> None:
    clock, camera_id = SystemClock(), CameraId(name)
    config = FeedConfig(source=SourceOptions(in_real_time=False))
    feed = SupervisedFeed(camera_id, parse_address(str(clip)), config, clock, random.Random(1))
    parts = CameraParts(lambda _: ByteTracker(), lambda boot_id: TrackletCutter(camera_id, boot_id))
    nobody = Nobody()
    camera = HostedCamera(feed, parts, "bench", clock)
    CameraWorker([camera], nobody, nobody, nobody, clock, WorkerConfig()).run(lambda: False)
    decoded = FRAMES_IN.labels(camera_id)._value.get()
    if decoded != FRAMES:
        raise SystemExit(f"the worker decoded {decoded:.0f} of {FRAMES} frames; the figures would be wrong")


def _cpu_s() -> float:
    """Processor time of this process and of all children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _ratio(rounds: Sequence[dict[str, float]], ours: str, peer: str) -> float:
    return statistics.median(each[ours] / each[peer] for each in rounds)


def _show(figures: dict[str, float], console: Console) -> None:
    table = Table("decode: 1080p H.264", "median", box=None)
    for name, value in figures.items():
        table.add_row(name, f"{value:.0f}" if name.endswith("/s)") else f"{value:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
