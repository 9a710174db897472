from __future__ import annotations

import cv2
import numpy as np

from pipeline.camera.snapshot import small_picture
from tests.fakes import painted


def _read(jpeg: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def test_a_picture_is_small_and_keeps_its_shape_and_colours() -> None:
    frame = painted((200, 40, 40), 720, 1280)
    picture = _read(small_picture(frame, width_px=320, quality=90))
    assert picture.shape == (180, 320, 3)
    assert abs(picture[..., ::-1].mean((0, 1)) - frame.mean((0, 1))).max() < 6


def test_a_small_frame_is_not_blown_up() -> None:
    assert _read(small_picture(painted((9, 9, 9), 60, 80), 320, 70)).shape == (60, 80, 3)
