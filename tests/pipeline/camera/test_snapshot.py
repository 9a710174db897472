from __future__ import annotations

import cv2
import numpy as np

from pipeline.camera.snapshot import draw_snapshot
from pipeline.contracts import Tracks
from tests.fakes import painted

TRACKS = Tracks(
    np.array([1, 2]), np.array([[100, 100, 200, 400], [-50, 0, 5000, 90]], np.float32), np.ones(2, np.float32)
)


def _read(jpeg: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def test_a_snapshot_is_small_and_shows_boxes_where_people_are() -> None:
    frame = painted((40, 40, 40), 720, 1280)
    picture = _read(draw_snapshot(frame, TRACKS, width_px=320, quality=90))
    assert picture.shape == (180, 320, 3)
    assert picture[60:80, 24:28].max() > 150  # the left edge of the first box
    assert picture[120:, 100:].max() < 80
    assert (frame == 40).all()


def test_a_small_frame_is_not_blown_up() -> None:
    assert _read(draw_snapshot(painted((9, 9, 9), 60, 80), Tracks.none(), 320, 70)).shape == (60, 80, 3)
