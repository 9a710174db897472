"""How well persons are found in single frames: precision, recall and F1 at overlap 0.5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.boxes import overlaps
from pipeline.camera.association import assign
from pipeline.contracts import Detections, Tracks
from pipeline.interfaces import Detector
from services.evaluation.tracking import read_mot, read_video

_SAME_PERSON_OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class DetectionScore:
    """Shares from 0 to 1 and the counts behind them."""

    precision: float
    recall: float
    f1: float
    hits: int
    false_positives: int
    misses: int
    frames: int


def evaluate_detector(
    video: Path,
    truth: Path,
    detector: Detector,
    scale: float = 1.0,
    min_score: float = 0.5,
    counts_ignored: bool = False,
) -> DetectionScore:
    """Detect in every frame of `video` and compare what scores at least `min_score` with the MOT file `truth`.

    `scale` turns the pixels of the truth into those of the video. Raises `ConfigurationError` for unreadable files.
    """
    true = read_mot(truth, scale, counts_ignored)
    found = {number: detector.detect([frame])[0] for number, frame in enumerate(read_video(video), 1)}
    return score_detections(true, found, min_score)


def score_detections(
    truth: Mapping[int, Tracks], found: Mapping[int, Detections], min_score: float = 0.5
) -> DetectionScore:
    """Compare frame by frame; each true box is found by one detection at most."""
    hits = found_boxes = true_boxes = 0
    numbers = truth.keys() | found.keys()
    for number in numbers:
        true, seen = truth.get(number, Tracks.none()), found.get(number, Detections.none())
        boxes = seen.boxes[seen.scores >= min_score]
        found_boxes += len(boxes)
        true_boxes += len(true)
        # The next number above, so that an overlap of exactly one half counts.
        hits += len(assign(1 - overlaps(true.boxes, boxes), 1 - _SAME_PERSON_OVERLAP + 1e-6)[0])
    precision = hits / found_boxes if found_boxes else 0.0
    recall = hits / true_boxes if true_boxes else 0.0
    f1 = 2 * hits / (found_boxes + true_boxes) if found_boxes + true_boxes else 0.0
    return DetectionScore(precision, recall, f1, hits, found_boxes - hits, true_boxes - hits, len(numbers))
