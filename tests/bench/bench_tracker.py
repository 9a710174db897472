"""Our tracker against Ultralytics' ByteTrack and against the bare assignment, on the same boxes in one run.

Ratios are the result. `python -m tests.bench.bench_tracker`
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import lap
import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.adapters.ultralytics_models import UltralyticsTracker
from pipeline.boxes import overlaps
from pipeline.camera.tracker import ByteTracker
from pipeline.contracts import Detections
from pipeline.errors import ConfigurationError
from pipeline.interfaces import Tracker

FRAMES, WARM_UP, ROUNDS, FPS = 150, 30, 3, 25.0
SIZES = (10, 50, 200)


def crowd(persons: int, seed: int = 0) -> list[Detections]:
    """People who walk straight and turn at the border of a 1080p picture: 1 px of noise, 5 % of them unseen."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform([0, 0], [1800, 900], (persons, 2))
    speed = rng.normal(0, 3, (persons, 2))
    size = np.stack([rng.uniform(30, 60, persons), rng.uniform(90, 180, persons)], axis=1)
    frames = []
    for _ in range(FRAMES):
        corner = corner + speed
        speed = np.where((corner < 0) | (corner > [1880, 960]), -speed, speed)
        seen_at = corner + rng.normal(0, 1, (persons, 2))
        scores = rng.uniform(0.3, 0.95, persons)
        is_seen = rng.random(persons) > 0.05
        boxes = np.hstack([seen_at, seen_at + size])[is_seen]
        frames.append(Detections(boxes.astype(np.float32), scores[is_seen].astype(np.float32)))
    return frames


def median_ms(work: Callable[[int], object]) -> float:
    """Milliseconds of processor time per frame after the warm-up.

    Not of the wall clock: beside busy neighbours a long frame is interrupted and a short one is not.
    """
    times = []
    for index in range(FRAMES):
        began = time.thread_time()
        work(index)
        times.append((time.thread_time() - began) * 1e3)
    return statistics.median(times[WARM_UP:])


def follow(tracker: Tracker, frames: list[Detections]) -> tuple[float, int]:
    """Milliseconds per frame, and how many different tracks were told."""
    told: set[int] = set()

    def one(index: int) -> None:
        told.update(tracker.update(frames[index], index / FPS).track_ids.tolist())

    return median_ms(one), len(told)


def assignment_only(frames: list[Detections]) -> float:
    """The floor: overlap of two frames and the solver, once."""

    def one(index: int) -> None:
        before, now = frames[index - 1].boxes, frames[index].boxes
        lap.lapjv(1 - overlaps(before, now), extend_cost=True, cost_limit=0.8)

    return median_ms(one)


def measure(persons: int) -> dict[str, float]:
    """Medians over rounds that alternate, so that a busy neighbour disturbs all alike."""
    frames = crowd(persons)
    ours, theirs, floors = [], [], []
    for _ in range(ROUNDS):
        ours.append(follow(ByteTracker(), frames))
        floors.append(assignment_only(frames))
        theirs.append(follow(UltralyticsTracker("bytetrack"), frames))
    ours_ms, theirs_ms = (statistics.median(ms for ms, _ in runs) for runs in (ours, theirs))
    return {
        "boxes": persons,
        "ours_ms": ours_ms,
        "ultralytics_ms": theirs_ms,
        "assignment_ms": statistics.median(floors),
        "times_faster": theirs_ms / ours_ms,
        "ours_tracks": ours[0][1],
        "ultralytics_tracks": theirs[0][1],
    }


def main(out: Path | None = None) -> None:
    """Print the table; write the numbers to `out` as JSON."""
    console = Console()
    try:
        UltralyticsTracker("bytetrack")
    except ConfigurationError as error:
        console.print(f"skipped: {error}")
        return
    rows = [measure(persons) for persons in SIZES]
    table = Table(*rows[0], title="Tracker, milliseconds of processor time per frame")
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)
    if out is not None:
        out.write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
