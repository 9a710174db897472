"""What a tracker followed can be read back, also after a crash in the middle of a line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.contracts import Detections, EarlierBox, Image, Tracks
from services.track_log import LoggedFrame, LoggedTracker, read_track_logs, settled


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


class TellsLate:
    """Each track is told with where it was half a second ago."""

    def update(self, detections: Detections, captured_at: float, image: Image | None = None) -> Tracks:
        tracks = EveryBoxATrack().update(detections, captured_at)
        earlier = [EarlierBox(captured_at - 0.5, 7, box, 0.5) for box in tracks.boxes]
        return replace(tracks, earlier=tuple(earlier))


def test_earlier_boxes_are_read_back_as_they_were_told_and_settle_in_their_own_frames(tmp_path: Path) -> None:
    one = Detections(np.array([[1, 2, 30, 40]], np.float32), np.ones(1, np.float32))
    tracker, told = LoggedTracker(TellsLate(), tmp_path, "yard", "b1"), []
    for captured_at, found in ((1.0, Detections.none()), (1.25, Detections.none()), (1.5, one)):
        told.append(LoggedFrame("yard", "b1", captured_at, tracker.update(found, captured_at)))
    read = list(read_track_logs(tmp_path))
    assert [len(frame.tracks) for frame in read] == [0, 0, 1]
    assert [(box.captured_at, box.track_id) for box in read[-1].tracks.earlier] == [(1.0, 7)]
    for frames in (settled(read), settled(told)):
        found_at = {frame.captured_at: frame.tracks for frame in frames}
        assert {at: tracks.track_ids.tolist() for at, tracks in found_at.items()} == {1.0: [7], 1.25: [], 1.5: [0]}
        np.testing.assert_array_equal(found_at[1.0].boxes, one.boxes)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.b1.tracks").write_text("1.0 3 1.0 2.0 3.0 4.0\n2.0 3 1.0 2.")
    assert [frame.captured_at for frame in read_track_logs(tmp_path)] == [1.0]
