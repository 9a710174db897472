from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.camera.concealing import conceal_heads
from pipeline.camera.hosted_camera import CameraParts, HostedCamera
from pipeline.camera.tracker import ByteTracker
from pipeline.camera.tracklets import TrackletCutter
from pipeline.contracts import F32, CameraId, Detections, Frame, Image
from tests.fakes import HandClock

BOX = np.array([[40.0, 20.0, 100.0, 180.0]], np.float32)


def noise(height: int = 200, width: int = 160) -> Image:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def test_a_head_is_few_colours_and_the_rest_is_as_it_was() -> None:
    image = noise()
    concealed = conceal_heads(image, BOX)
    head, was = concealed[20:52, 40:100].astype(float), image[20:52, 40:100].astype(float)
    assert head.std() < 0.35 * was.std()
    assert abs(np.corrcoef(_fine(head).ravel(), _fine(was).ravel())[0, 1]) < 0.1
    assert np.array_equal(concealed[60:], image[60:]) and np.array_equal(concealed[:, 110:], image[:, 110:])
    assert np.array_equal(image, noise())


def test_two_heads_with_the_same_few_colours_look_the_same() -> None:
    """What tells one face from another is not hidden but gone."""
    flat = noise()
    few = cv2.resize(flat[16:52, 34:106], (4, 4), interpolation=cv2.INTER_AREA)
    other = flat.copy()
    other[16:52, 34:106] = np.repeat(np.repeat(few, 9, axis=0), 18, axis=1)
    difference = conceal_heads(flat, BOX).astype(int) - conceal_heads(other, BOX).astype(int)
    assert abs(difference).max() <= 4  # of rounding


@given(st.lists(st.tuples(*[st.floats(-300, 500, width=32)] * 4), max_size=4))
def test_no_box_wherever_it_lies_breaks_a_picture(corners: list[tuple[float, ...]]) -> None:
    boxes = np.array(corners, np.float32).reshape(-1, 4)
    assert conceal_heads(noise(40, 30), boxes).shape == (40, 30, 3)


class StillFeed:
    """`Feed` of which only the name is asked."""

    camera_id = CameraId("gate")


def test_nothing_that_leaves_a_camera_shows_a_head() -> None:
    clock, seen = HandClock(), []

    def conceal(image: Image, boxes: F32) -> Image:
        seen.append(len(boxes))
        return conceal_heads(image, boxes)

    parts = CameraParts(lambda _: ByteTracker(), lambda boot_id: TrackletCutter(CameraId("gate"), boot_id), conceal)
    camera = HostedCamera(StillFeed(), parts, "b1", clock)  # type: ignore[arg-type]
    pieces = []
    picture = np.full((200, 160, 3), 60, np.uint8)
    picture[20:52:2, 40:100] = 255  # a head of fine stripes
    for index in range(20):
        clock.sleep(0.2)
        frame = Frame(CameraId("gate"), picture.copy(), clock.now(), index)
        pieces += camera.follow(frame, Detections(BOX, np.array([0.9], np.float32)))
    pieces += camera.finish()
    assert min(seen) >= 1 and pieces
    for crop in (crop for piece in pieces for crop in piece.crops):
        shown = cv2.imdecode(np.frombuffer(crop.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE).astype(float)
        assert abs(np.diff(shown[12:36], axis=0)).mean() < 12.0  # the stripes would give 195
    snapshot = camera.snapshot(160, 95)
    assert snapshot is None or _stripes(snapshot) < 25.0


def _stripes(jpeg: bytes) -> float:
    shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE).astype(float)
    return float(abs(np.diff(shown[25:45, 50:90], axis=0)).mean())


def _fine(image: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return image - cv2.blur(image, (15, 15))
