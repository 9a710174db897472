"""`sightline demo`: the real system on simulated cameras, three questions, and the truth beside the answers.

Everything runs as in production; only the frames are rendered instead of received, so that what is true is known.
"""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.contracts import GlobalId, Tracks
from pipeline.errors import Unavailable
from services.console import started
from services.evaluation.site import SiteScore, TrackKey, score_site
from services.runtime import open_store
from services.settings import Settings, load
from services.track_log import LoggedFrame, read_track_logs
from services.up import RunningSystem, running_system

if TYPE_CHECKING:
    from pipeline.adapters.simulation.site import SimulatedSite
    from pipeline.adapters.simulation.words import TrueQuery

CAMERA_NAMES = ("gate", "lobby", "yard", "corridor", "stairs", "garden", "bridge", "platform")
QUESTIONS = 3
DEFAULT_DURATION_S = 60.0
_SETTLE_S = 12.0  # after the cameras stop: what was seen last still travels to its identity


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What to simulate. Without `duration_s` a terminal keeps the system running until Ctrl-C."""

    cameras: int
    people: int
    seed: int
    port: int
    data_dir: Path
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The system's first answer to one question. `is_right`: the sentence is true of the person found."""

    sentence: str
    global_id: GlobalId | None
    confidence: float
    person_id: int | None  # who that identity really is, by most of its tracks
    is_right: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """What `--json` writes."""

    duration_s: float
    cameras: int
    people_seen: int
    identities: int
    frames_analysed: int
    tracklets: int
    tracking_idf1: float
    tracking_mota: float
    cross_camera_idf1: float
    queries: int
    query_precision_at_1: float
    capture_to_identity_p95_s: float | None
    failures: dict[str, list[int]]


def run_demo(plan: DemoPlan, console: Console, json_file: Path | None) -> int:
    """Run, narrate, compare; the exit code is 1 if any service failed."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    shutil.rmtree(plan.data_dir, ignore_errors=True)
    duration_s = plan.duration_s or DEFAULT_DURATION_S
    start_at = float(int(time.time()))
    settings = _settings(plan, start_at)
    site = _site(plan)
    console.print(
        f"\n[bold]Sightline[/] on a simulated site: {plan.cameras} cameras, {plan.people} people who come and go (seed {plan.seed})."
    )
    with running_system(settings) as system:
        if not started(system, console, stop):
            return 1
        console.print(f"  Every service runs as a process of its own. Watch: [bold cyan]{system.page}[/]\n")
        _watch(system, duration_s, console, stop)
        truth = _Truth(site, start_at, settings)
        answers = _ask(system, truth, console)
        if plan.duration_s is None and console.is_terminal and not stop.is_set():
            console.print(f"\n  The system goes on; ask it yourself at [bold cyan]{system.page}[/]. Ctrl-C stops it.")
            while not stop.wait(1.0) and not system.supervisor.is_broken:
                system.supervisor.poll()
        with console.status("Stopping in order: cameras, embedder, archiver, matcher, API, bus…"):
            latency_s = _latency_p95(system)
            system.supervisor.stop()
        summary = _summary(truth, answers, latency_s, duration_s, system.supervisor.failures())
    _tell(summary, console)
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(summary), indent=2) + "\n", encoding="utf-8")
    return 1 if summary.failures else 0


class _Truth:
    """The simulated site as the cameras of this run saw it."""

    def __init__(self, site: SimulatedSite, start_at: float, settings: Settings) -> None:
        self.site = site
        self.start_at = start_at
        self.settings = settings
        self._numbers = {camera.id: number for number, camera in enumerate(settings.cameras)}

    def at(self, camera_id: str, captured_at: float) -> Tracks:
        from pipeline.adapters.simulation.truth import true_boxes

        boxes = [
            box
            for box in true_boxes(self.site, self._numbers[camera_id], captured_at - self.start_at)
            if box.visibility >= _VISIBLE
        ]
        return Tracks(
            np.array([box.person_id for box in boxes], np.int64),
            np.array([box.box_px for box in boxes], np.float32).reshape(-1, 4),
            np.ones(len(boxes), np.float32),
        )

    def frames(self) -> list[LoggedFrame]:
        return list(read_track_logs(track_folder(self.settings)))

    def score(self, frames: Sequence[LoggedFrame]) -> SiteScore:
        return score_site(frames, self.at, self.identities())

    def identities(self) -> dict[TrackKey, GlobalId]:
        return open_store(self.settings).track_identities()

    def people_of(self, frames: Sequence[LoggedFrame]) -> dict[GlobalId, int]:
        """Whom each global identity shows in most of its boxes."""
        from pipeline.adapters.simulation.truth import identify

        identities = self.identities()
        votes: dict[GlobalId, Counter[int]] = {}
        for frame in frames:
            camera = self._numbers[frame.camera_id]
            boxes = frame.tracks.boxes.astype(np.float64)
            people = identify(self.site, camera, frame.captured_at - self.start_at, boxes)
            for track, person in zip(frame.tracks.track_ids, people, strict=True):
                key = (frame.camera_id, frame.boot_id, int(track))
                if person is not None and key in identities:
                    votes.setdefault(identities[key], Counter())[person] += 1
        return {global_id: counts.most_common(1)[0][0] for global_id, counts in votes.items()}

    def questions(self, seen: set[int]) -> list[TrueQuery]:
        """Every generated description that is true of somebody who was seen."""
        from pipeline.adapters.simulation.words import true_queries

        return [query for query in true_queries(self.site.people) if query.person_ids & seen]
