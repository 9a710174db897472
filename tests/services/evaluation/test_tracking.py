"""Tracking and detection scores: known answers, bad files, and our own figures on real footage."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.adapters.motion_detector import MotionDetector
from pipeline.camera.tracker import ByteTracker
from pipeline.contracts import Detections, Tracks
from pipeline.errors import ConfigurationError
from services.evaluation.detector import score_detections
from services.evaluation.tracking import follow, read_mot, read_video, score_tracking

needs_data = pytest.mark.skipif(
    not os.environ.get("SIGHTLINE_DATA"), reason="SIGHTLINE_DATA names no folder of footage"
)
DATA = Path(os.environ.get("SIGHTLINE_DATA") or ".")
PETS = DATA / "video" / "pets09-s2l1"
BASELINES = json.loads((Path(__file__).parents[2] / "baselines" / "pets_tracking.json").read_text(encoding="utf-8"))
MAY_DROP = 0.01


def walk(track_id: int, frames: range, x: float = 0.0) -> dict[int, Tracks]:
    return {
        frame: Tracks(
            np.array([track_id]), np.array([[x + frame, 0, x + frame + 10, 30]], np.float32), np.ones(1, np.float32)
        )
        for frame in frames
    }


def test_the_truth_itself_scores_one() -> None:
    score = score_tracking(walk(1, range(1, 21)), walk(9, range(1, 21)))
    assert (score.mota, score.idf1, score.identity_switches) == (1.0, 1.0, 0)


def test_a_change_of_number_is_one_switch_and_halves_idf1() -> None:
    score = score_tracking(walk(1, range(1, 21)), walk(8, range(1, 11)) | walk(9, range(11, 21)))
    assert (score.identity_switches, score.idf1) == (1, pytest.approx(0.5))


def test_boxes_elsewhere_are_misses_and_false_positives() -> None:
    score = score_tracking(walk(1, range(1, 11)), walk(1, range(1, 11), x=500))
    assert (score.misses, score.false_positives, score.idf1) == (10, 10, 0.0)


@needs_data
@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "mota", "idf1", "switches"), [("TUD-Campus", 0.526, 0.558, 7), ("TUD-Stadtmitte", 0.564, 0.645, 7)]
)
def test_published_scores_of_a_published_tracker_come_out(name: str, mota: float, idf1: float, switches: int) -> None:
    folder = DATA / "tracking-known-answers" / name
    score = score_tracking(read_mot(folder / "gt.txt"), read_mot(folder / "test.txt"))
    assert score.mota == pytest.approx(mota, abs=5e-4)
    assert score.idf1 == pytest.approx(idf1, abs=5e-4)
    assert score.identity_switches == switches


def test_a_mot_file_is_scaled_and_lines_marked_0_are_left_out_unless_wanted(tmp_path: Path) -> None:
    file = tmp_path / "gt.txt"
    file.write_text("1,7,10,20,30,40,1,-1,-1,-1\n\n3,8,0,0,10,10,0,-1,-1,-1\n", encoding="utf-8")
    assert {frame: tracks.boxes.tolist() for frame, tracks in read_mot(file, 0.5).items()} == {1: [[5, 10, 20, 30]]}
    assert sorted(read_mot(file, counts_ignored=True)) == [1, 3]


@pytest.mark.parametrize(
    "line", ["1,2,3", "1,1,a,2,3,4", "0,1,1,1,5,5", "1,1,1,1,0,5", "1,1,nan,1,5,5", "inf,1,1,1,5,5"]
)
def test_a_bad_line_is_named_with_its_number(tmp_path: Path, line: str) -> None:
    file = tmp_path / "gt.txt"
    file.write_text(f"1,1,1,1,5,5\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="line 2"):
        read_mot(file)


def test_empty_missing_and_binary_truth_is_refused(tmp_path: Path) -> None:
    for name, content in (("empty.txt", b""), ("binary.txt", b"\xff\xfe\x00"), ("missing.txt", None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigurationError, match=name):
            read_mot(tmp_path / name)


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.mp4"
    file.write_text("no video", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"notes\.mp4"):
        next(read_video(file))


def test_a_true_box_is_found_once() -> None:
    truth = walk(1, range(1, 11))
    found = {
        frame: Detections(np.repeat(tracks.boxes, 2, axis=0), np.array([0.9, 0.8], np.float32))
        for frame, tracks in truth.items()
    }
    score = score_detections(truth, found)
    assert (score.hits, score.false_positives, score.misses) == (10, 10, 0)
    assert (score.precision, score.recall) == (0.5, 1.0)
    assert score_detections(truth, found, min_score=0.85).f1 == 1.0


@needs_data
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_motion_alone_follows_real_pedestrians_no_worse_than_the_baseline() -> None:
    found = follow(read_video(PETS / "video.mp4"), MotionDetector(), ByteTracker())
    for name, counts_ignored in (("motion", True), ("motion_without_lines_marked_0", False)):
        score = score_tracking(read_mot(PETS / "gt_768x576.txt", 0.625, counts_ignored), found)
        expected = BASELINES[name]
        assert score.true_boxes == expected["true_boxes"]
        assert score.mota >= expected["mota"] - MAY_DROP
        assert score.idf1 >= expected["idf1"] - MAY_DROP
