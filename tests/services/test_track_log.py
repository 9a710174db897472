"""What a tracker followed can be read back, also after a crash in the middle of a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.contracts import Detections, Image, Tracks
from services.track_log import LoggedTracker, read_track_logs


class EveryBoxATrack:
    def update(self, detections: Detections, captured_at: float, image: Image | None = None) -> Tracks:
        return Tracks(np.arange(len(detections)), detections.boxes, detections.scores)


def test_frames_come_back_as_they_were_followed_and_empty_ones_too(tmp_path: Path) -> None:
    tracker = LoggedTracker(EveryBoxATrack(), tmp_path, "yard.east", "b1")
    two = Detections(np.array([[1, 2, 30, 40], [5.5, 6, 70, 80]], np.float32), np.ones(2, np.float32))
    given = [tracker.update(two, 100.25), tracker.update(Detections.none(), 100.5)]
    read = list(read_track_logs(tmp_path))
    assert [(f.camera_id, f.boot_id, f.captured_at) for f in read] == [
        ("yard.east", "b1", 100.25),
        ("yard.east", "b1", 100.5),
    ]
    for frame, tracks in zip(read, given, strict=True):
        np.testing.assert_array_equal(frame.tracks.track_ids, tracks.track_ids)
        np.testing.assert_allclose(frame.tracks.boxes, tracks.boxes)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.b1.tracks").write_text("1.0 3 1.0 2.0 3.0 4.0\n2.0 3 1.0 2.")
    assert [frame.captured_at for frame in read_track_logs(tmp_path)] == [1.0]
