"""A tracker that also writes down what it followed, so that a run of the real system can be compared with the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.contracts import Detections, Image, Tracks
from pipeline.interfaces import Tracker


class LoggedTracker:
    """Any `Tracker`, plus one line for each frame: the capture time, then track and box in turn.

    The file is called `CAMERA.BOOT.tracks`.
    """

    def __init__(self, tracker: Tracker, folder: Path, camera_id: str, boot_id: str) -> None:
        self._tracker = tracker
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{camera_id}.{boot_id}.tracks"

    def update(self, detections: Detections, captured_at: float, image: Image | None = None) -> Tracks:
        tracks = self._tracker.update(detections, captured_at, image)
        words = [f"{captured_at:.6f}"]
        for track_id, box in zip(tracks.track_ids, tracks.boxes, strict=True):
            words.append(f"{track_id} {box[0]:.1f} {box[1]:.1f} {box[2]:.1f} {box[3]:.1f}")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(" ".join(words) + "\n")
        return tracks


@dataclass(frozen=True, slots=True)
class LoggedFrame:
    """What one start (`boot_id`) of one camera's worker followed in one frame."""

    camera_id: str
    boot_id: str
    captured_at: float
    tracks: Tracks


def read_track_logs(folder: Path) -> Iterator[LoggedFrame]:
    """Every frame that `LoggedTracker`s wrote in `folder`; a torn last line is left out."""
    for path in sorted(folder.glob("*.tracks")):
        camera_id, boot_id = path.name.removesuffix(".tracks").rsplit(".", 1)
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                captured_at, *words = line.split()
                rows = np.array(words, np.float64).reshape(-1, 5)
                boxes = rows[:, 1:].astype(np.float32)
                tracks = Tracks(rows[:, 0].astype(np.int64), boxes, np.ones(len(rows), np.float32))
                yield LoggedFrame(camera_id, boot_id, float(captured_at), tracks)
