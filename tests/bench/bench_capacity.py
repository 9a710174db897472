"""How many 1080p cameras at 5 analysed frames per second this machine carries, and how many a naive loop does.

The whole system runs as `sightline up` runs it: files of H.264 at 25 frames per second played like cameras, decoded by
a process each, camera workers with the default detector, embedder, archiver, matcher, API, embedded Redis, SQLite. The
number of cameras grows until one of these breaks over a window of steady work:

- every camera has 95 % of its frames decoded and 95 % of 5 frames per second analysed;
- the 95th percentile of capture to identity is at most 1 s. Measured from the capture of a tracklet's last frame to the
  moment its identity was decided, for tracklets cut while the person is in view. The last tracklet of a track waits
  1.5 s on purpose (the person may come back from behind an obstacle) and is told apart, not judged.

For the naive loop the delay is that of every person in every analysed frame, and it breaks by the same bounds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from pipeline.runtimes.machine import usable_cores
from services.demo import free_ports
from services.evaluation.system import drained
from services.runtime import open_store
from services.settings import Settings, load
from services.up import RunningSystem, running_system
from tests.bench.capacity.clips import FPS, Clip, make_clips
from tests.bench.capacity.processors import used_by_stage

ANALYSED_FPS = 5.0
LEAST_SHARE, MOST_DELAY_S = 0.95, 1.0
CLIP_S = int(os.environ.get("BENCH_CLIP_S", "20"))
WINDOW_S = float(os.environ.get("BENCH_WINDOW_S", "25"))
SETTLE_S = 8.0
MOST_CAMERAS = int(os.environ.get("BENCH_MOST_CAMERAS", "12"))
_DRAIN_S = 20.0
_METRICS_PORTS = 25  # as many as there may be services


@dataclass(frozen=True, slots=True)
class Load:
    """What one number of cameras did. Shares are of the worst camera; `used` is processors' seconds per second."""

    cameras: int
    decoded_share: float
    analysed_share: float
    tracklets: int
    delay_p50_s: float | None
    delay_p95_s: float | None  # of tracklets cut while the person is in view
    delay_of_last_p95_s: float | None  # of the last tracklet of a track
    is_drained: bool
    used: dict[str, float]

    @property
    def problem(self) -> str:
        if self.decoded_share < LEAST_SHARE:
            return "decoding fell behind"
        if self.analysed_share < LEAST_SHARE:
            return "too few frames were analysed"
        if not self.is_drained or self.delay_p95_s is None:
            return "identities did not come"
        return "" if self.delay_p95_s <= MOST_DELAY_S else "identities came late"


def main(out: Path) -> None:
    """Find both figures, write `out` and print a table."""
    with tempfile.TemporaryDirectory(prefix="sightline-capacity-") as folder:
        place = Path(folder)
        clips = make_clips(place, MOST_CAMERAS, CLIP_S)
        naive = _naive(place, clips)
        loads = _search(place, clips)
    carried = max((one.cameras for one in loads if not one.problem), default=0)
    people = statistics.mean(len(boxes) for boxes in clips[0].boxes)
    result = {
        "cores": usable_cores(),
        "people_in_view": people,
        "cameras": carried,
        "limit": _limit(loads),
        "naive_cameras": max((one["cameras"] for one in naive if not one["problem"]), default=0),
        "loads": [asdict(one) | {"problem": one.problem} for one in loads],
        "naive": naive,
    }
    out.write_text(json.dumps(result, indent=1) + "\n")
    _show(result, loads, naive)


def _search(place: Path, clips: Sequence[Clip]) -> list[Load]:
    """Two cameras tell how much one costs; from there up while it holds, or down until it does."""
    tried: dict[int, Load] = {}

    def holds(cameras: int) -> bool:
        if cameras not in tried:
            tried[cameras] = _measured(place / f"with-{cameras}", clips[:cameras])
        return not tried[cameras].problem

    if not holds(1):
        return list(tried.values())
    used = sum(tried[1].used.values())
    guess = min(max(2, int(usable_cores() / max(used, 0.05))), len(clips))
    while guess > 1 and not holds(guess):
        guess -= 1
    while guess < len(clips) and holds(guess + 1):
        guess += 1
    return [tried[cameras] for cameras in sorted(tried)]


def _measured(folder: Path, clips: Sequence[Clip]) -> Load:
    settings = camera_settings(folder, clips)
    with running_system(settings) as system:
        if not system.supervisor.wait_until_ready(300, lambda _: None):
            raise RuntimeError(f"the services did not start; see {folder / 'run'}")
        time.sleep(SETTLE_S)
        frames, used, began_at = frames_so_far(system), used_by_stage(os.getpid()), time.time()
        while time.time() < began_at + WINDOW_S:
            system.supervisor.poll()
            time.sleep(0.5)
        frames_now, used_now, lasted_s = frames_so_far(system), used_by_stage(os.getpid()), time.time() - began_at
        system.supervisor.stop("camera")
        is_drained = drained(system, _DRAIN_S)
        in_view, last = _delays(system.settings, began_at, began_at + lasted_s)
        system.supervisor.stop()
    share = {
        name: min(
            (frames_now[name].get(camera.id, 0.0) - frames[name].get(camera.id, 0.0)) / (lasted_s * wanted)
            for camera in settings.cameras
        )
        for name, wanted in (("sightline_frames_in_total", FPS), ("sightline_frames_analysed_total", ANALYSED_FPS))
    }
    return Load(
        cameras=len(clips),
        decoded_share=share["sightline_frames_in_total"],
        analysed_share=share["sightline_frames_analysed_total"],
        tracklets=len(in_view) + len(last),
        delay_p50_s=_quantile(in_view, 0.5),
        delay_p95_s=_quantile(in_view, 0.95),
        delay_of_last_p95_s=_quantile(last, 0.95),
        is_drained=is_drained,
        used={stage: (used_now[stage] - used.get(stage, 0.0)) / lasted_s for stage in used_now},
    )


def camera_settings(folder: Path, clips: Sequence[Clip]) -> Settings:
    """A system with its data in `folder` that plays each clip again and again as a camera."""
    cameras = [
        {"id": clip.file.stem, "address": str(clip.file), "analysed_fps": ANALYSED_FPS, "loop": True} for clip in clips
    ]
    return load(
        None, {"data_dir": folder, "api": {"port": 0}, "metrics_port": free_ports(_METRICS_PORTS), "cameras": cameras}
    )


def frames_so_far(system: RunningSystem) -> dict[str, dict[str, float]]:
    """Frames so far by metric and camera."""
    found: dict[str, dict[str, float]] = {"sightline_frames_in_total": {}, "sightline_frames_analysed_total": {}}
    for port in system.metrics_ports("camera"):
        text = httpx.get(f"http://{system.settings.metrics_host}:{port}/metrics", timeout=30.0).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in found:
                    found[sample.name][sample.labels["camera"]] = sample.value
    return found


def _delays(settings: Settings, since_at: float, until_at: float) -> tuple[list[float], list[float]]:
    """Seconds from a tracklet's last frame to its identity: of tracklets cut in view, and of the last of each track."""
    store, position = open_store(settings), 0
    found: dict[str, tuple[float, float]] = {}  # tracklet → ended, decided
    while events := store.events_after(position, 1000):
        position = events[-1].event_id
        for event in events:
            if event.ended_at is not None:
                found |= dict.fromkeys(event.tracklet_ids, (event.ended_at, event.decided_at))
    newest: dict[str, int] = {}
    for tracklet in found:
        track, _, sequence = tracklet.rpartition("/")
        newest[track] = max(newest.get(track, 0), int(sequence))
    in_view, last = [], []
    for tracklet, (ended_at, decided_at) in found.items():
        track, _, sequence = tracklet.rpartition("/")
        if since_at <= ended_at < until_at:
            (last if int(sequence) == newest[track] else in_view).append(decided_at - ended_at)
    return in_view, last


def _naive(place: Path, clips: Sequence[Clip]) -> list[dict[str, object]]:
    """The naive loop with one camera more each time, until it breaks."""
    from pipeline.adapters.ultralytics_models import _ultralytics

    checkpoint = place / "yolo11n.pt"
    _ultralytics().YOLO("yolo11n.yaml").save(str(checkpoint))
    tried: list[dict[str, object]] = []
    for cameras in range(1, len(clips) + 1):
        task, result = place / "naive-task.json", place / "naive-result.json"
        chosen = clips[:cameras]
        words = {
            "files": [str(clip.file) for clip in chosen],
            "boxes": [[boxes.tolist() for boxes in clip.boxes] for clip in chosen],
            "checkpoint": str(checkpoint),
            "seconds": WINDOW_S,
        }
        task.write_text(json.dumps(words))
        command = [sys.executable, "-m", "tests.bench.capacity.naive_loop", str(task), str(result)]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[2], capture_output=True)
        told = json.loads(result.read_text())
        p95_s = _quantile(told["delays_s"], 0.95)
        is_late = told["fell_behind"] or p95_s is None or p95_s > MOST_DELAY_S
        problem = "fell behind" if told["fell_behind"] else "identities came late" if is_late else ""
        tried.append({"cameras": cameras, "delay_p95_s": p95_s, "lasted_s": told["lasted_s"], "problem": problem})
        if problem:
            break
    return tried


def _quantile(delays_s: Sequence[float], share: float) -> float | None:
    return float(np.quantile(np.asarray(delays_s), share)) if delays_s else None


def _limit(loads: Sequence[Load]) -> str:
    """What the first load that broke spent most of the processors on, and how it broke."""
    broken = next((one for one in loads if one.problem), None)
    if broken is None:
        return "none was reached"
    stage = max(broken.used, key=lambda name: broken.used[name])
    whole = sum(broken.used.values())
    spent = f"{stage} took {broken.used[stage]:.2f} of {whole:.2f} processors"
    return f"{broken.problem} with {broken.cameras} cameras; {spent}"


def _show(result: Mapping[str, object], loads: Sequence[Load], naive: Sequence[Mapping[str, object]]) -> None:
    console = Console()
    stages = sorted({stage for one in loads for stage in one.used})
    table = Table("cameras", "decoded", "analysed", "tracklets", "p95 in view, s", "p95 of last, s", "")
    used = Table("processors", *stages)
    for one in loads:
        delays = (f"{delay:.2f}" if delay is not None else "–" for delay in (one.delay_p95_s, one.delay_of_last_p95_s))
        shares = (f"{one.decoded_share:.2f}", f"{one.analysed_share:.2f}")
        table.add_row(str(one.cameras), *shares, str(one.tracklets), *delays, one.problem or "holds")
        used.add_row(f"{one.cameras} cameras", *(f"{one.used.get(stage, 0.0):.2f}" for stage in stages))
    console.print(table, used)
    for loop in naive:
        delay = loop["delay_p95_s"]
        told = "no people" if delay is None else f"p95 {delay:.2f} s"
        console.print(f"naive loop, {loop['cameras']} cameras: {told}, {loop['problem'] or 'holds'}")
    console.print(
        f"{result['cameras']} cameras, a naive loop {result['naive_cameras']}, with {result['people_in_view']:.1f} "
        f"people in view of each; the limit: {result['limit']}"
    )
