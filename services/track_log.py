"""A tracker that also writes down what it followed, so that a run of the real system can be compared with the truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.contracts import F32, Detections, EarlierBox, Image, Tracks
from pipeline.interfaces import Tracker


class LoggedTracker:
    """Any `Tracker`, plus one line for each frame: the capture time, then track and box in turn; after `<` the earlier
    boxes, each with its own capture time.

    The file is called `CAMERA.BOOT.tracks`.
    """

    def __init__(self, tracker: Tracker, folder: Path, camera_id: str, boot_id: str) -> None:
        self._tracker = tracker
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{camera_id}.{boot_id}.tracks"

    def update(self, detections: Detections, captured_at: float, image: Image | None = None) -> Tracks:
        tracks = self._tracker.update(detections, captured_at, image)
        words = [f"{captured_at:.6f}"]
        words += [_row(track_id, box) for track_id, box in zip(tracks.track_ids, tracks.boxes, strict=True)]
        if tracks.earlier:
            words += ["<", *(f"{each.captured_at:.6f} {_row(each.track_id, each.box)}" for each in tracks.earlier)]
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
                now, _, before = line.partition("<")
                captured_at, *words = now.split()
                rows = np.array(words, np.float64).reshape(-1, 5)
                earlier = tuple(
                    EarlierBox(at, int(track), np.array(box, np.float32), 1.0)
                    for at, track, *box in np.array(before.split(), np.float64).reshape(-1, 6).tolist()
                )
                boxes = rows[:, 1:].astype(np.float32)
                tracks = Tracks(rows[:, 0].astype(np.int64), boxes, np.ones(len(rows), np.float32), earlier)
                yield LoggedFrame(camera_id, boot_id, float(captured_at), tracks)


def settled(frames: Iterable[LoggedFrame]) -> list[LoggedFrame]:
    """The same frames once all is told: earlier boxes stand in their own."""
    told = list(frames)
    earlier: defaultdict[tuple[str, str, float], list[EarlierBox]] = defaultdict(list)
    for frame in told:
        for box in frame.tracks.earlier:
            earlier[frame.camera_id, frame.boot_id, box.captured_at].append(box)
    return [
        replace(frame, tracks=_with(frame.tracks, earlier[frame.camera_id, frame.boot_id, frame.captured_at]))
        for frame in told
    ]


def _with(tracks: Tracks, earlier: list[EarlierBox]) -> Tracks:
    return Tracks(
        np.append(tracks.track_ids, [each.track_id for each in earlier]).astype(np.int64),
        np.vstack([tracks.boxes, *[each.box for each in earlier]]),
        np.append(tracks.scores, [each.score for each in earlier]).astype(np.float32),
    )


def _row(track_id: int, box: F32) -> str:
    return f"{track_id} {box[0]:.1f} {box[1]:.1f} {box[2]:.1f} {box[3]:.1f}"
