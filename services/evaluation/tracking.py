"""How well persons are followed in one camera: MOTA, IDF1 and their parts, from a video and MOT ground truth."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.boxes import overlaps
from pipeline.contracts import CameraId, Frame, Tracks
from pipeline.errors import ConfigurationError
from pipeline.interfaces import Detector, Tracker

Annotations = Mapping[int, Tracks]  # by frame number, from 1 as in MOT files

_SAME_PERSON_OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class TrackingScore:
    """CLEAR MOT (Bernardin and Stiefelhagen, 2008) and IDF1 (Ristani et al., 2016) at overlap 0.5, as shares."""

    mota: float
    idf1: float
    identity_switches: int
    false_positives: int
    misses: int
    true_boxes: int
    found_boxes: int
    frames: int
    persons: int
    tracks: int


def evaluate_tracking(
    video: Path,
    truth: Path,
    detector: Detector,
    tracker: Tracker,
    scale: float = 1.0,
    counts_ignored: bool = False,
) -> TrackingScore:
    """Detect and follow in every frame of `video`, and compare with the MOT file `truth`.

    `scale` turns the pixels of the truth into those of the video; `counts_ignored` as in `read_mot`. Raises
    `ConfigurationError` for unreadable files.
    """
    return score_tracking(read_mot(truth, scale, counts_ignored), follow(read_video(video), detector, tracker))


def follow(frames: Iterable[Frame], detector: Detector, tracker: Tracker) -> dict[int, Tracks]:
    """The tracks of every frame, by frame number from 1."""
    return {
        number: tracker.update(detector.detect([frame])[0], frame.captured_at, frame.image)
        for number, frame in enumerate(frames, 1)
    }


def score_tracking(truth: Annotations, found: Annotations) -> TrackingScore:
    """Compare two annotations of the same frames."""
    import motmetrics

    accumulator = motmetrics.MOTAccumulator(auto_id=False)
    numbers = sorted(truth.keys() | found.keys())
    for number in numbers:
        true, seen = truth.get(number, Tracks.none()), found.get(number, Tracks.none())
        distances = 1.0 - overlaps(true.boxes.astype(np.float64), seen.boxes.astype(np.float64))
        distances[distances > _SAME_PERSON_OVERLAP] = math.nan  # nan: can never be matched
        accumulator.update(true.track_ids.tolist(), seen.track_ids.tolist(), distances, frameid=number)
    measures = ["mota", "idf1", "num_switches", "num_false_positives", "num_misses", "num_objects", "num_predictions"]
    row = motmetrics.metrics.create().compute(accumulator, metrics=measures).iloc[0]
    return TrackingScore(
        mota=float(row["mota"]),
        idf1=float(row["idf1"]),
        identity_switches=int(row["num_switches"]),
        false_positives=int(row["num_false_positives"]),
        misses=int(row["num_misses"]),
        true_boxes=int(row["num_objects"]),
        found_boxes=int(row["num_predictions"]),
        frames=len(numbers),
        persons=len({int(name) for tracks in truth.values() for name in tracks.track_ids}),
        tracks=len({int(name) for tracks in found.values() for name in tracks.track_ids}),
    )


def read_mot(path: Path, scale: float = 1.0, counts_ignored: bool = False) -> dict[int, Tracks]:
    """A MOT file: lines of frame number from 1, identity, left, top, width, height[, valid, …]; pixels times `scale`.

    Lines whose seventh field is 0 are left out, as MOTChallenge does, unless `counts_ignored`. Raises
    `ConfigurationError` with the line.
    """
    rows: dict[int, list[tuple[int, float, float, float, float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            for line_number, fields in enumerate(csv.reader(lines), 1):
                if not fields:
                    continue
                frame, identity, left, top, width, height, is_valid = _mot_line(path, line_number, fields)
                box = (left * scale, top * scale, (left + width) * scale, (top + height) * scale)
                if is_valid or counts_ignored:
                    rows.setdefault(frame, []).append((identity, *box))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the ground truth {path} cannot be read: {error}") from error
    if not rows:
        raise ConfigurationError(f"the ground truth {path} holds no boxes; expected lines of a MOT file")
    return {
        frame: Tracks(
            np.array([row[0] for row in found], np.int64),
            np.array([row[1:] for row in found], np.float32),
            np.ones(len(found), np.float32),
        )
        for frame, found in rows.items()
    }


def read_video(path: Path) -> Iterator[Frame]:
    """Every frame of a video file with its own time. Raises `ConfigurationError` for a file that is no video."""
    import av

    try:
        with av.open(str(path)) as container:
            for index, picture in enumerate(container.decode(video=0)):
                captured_at = picture.time if picture.time is not None else index / 25
                image = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
                yield Frame(CameraId("evaluation"), image, captured_at, index)
    except (av.FFmpegError, IndexError, OSError) as error:
        raise ConfigurationError(f"the video {path} cannot be read: {error}") from error


def _mot_line(path: Path, line_number: int, fields: list[str]) -> tuple[int, int, float, float, float, float, bool]:
    try:
        frame, identity = int(float(fields[0])), int(float(fields[1]))
        left, top, width, height = (float(field) for field in fields[2:6])
        is_valid = len(fields) < 7 or float(fields[6]) != 0
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(_mot_problem(path, line_number, fields)) from error
    if frame < 1 or not all(map(math.isfinite, (left, top, width, height))) or width <= 0 or height <= 0:
        raise ConfigurationError(_mot_problem(path, line_number, fields))
    return frame, identity, left, top, width, height, is_valid


def _mot_problem(path: Path, line_number: int, fields: list[str]) -> str:
    return (
        f"{path}, line {line_number}: {','.join(fields)[:80]!r}; expected frame (from 1), identity, left, top, width, "
        "height[, valid, …] as numbers, with a positive size"
    )
