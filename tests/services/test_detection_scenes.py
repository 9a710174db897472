"""Scenes to learn from: videos that detectors label, lists of boxes, and the simulated site."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.adapters.simulation.site import SimulatedSite
from pipeline.contracts import Detections, Frame
from pipeline.errors import ConfigurationError
from services.detection_scenes import simulated_scene, taught_scene, zipped_images


class Says:
    """A teacher who sees the same box in every frame."""

    name = "says"

    def __init__(self, *box: float) -> None:
        self._found = Detections(np.array([box], np.float32).reshape(-1, 4), np.full(len(box) // 4, 0.9, np.float32))

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        return [self._found for _ in frames]


def test_boxes_shrink_with_the_frames_that_are_kept() -> None:
    frames = [np.zeros((720, 1280, 3), np.uint8)] * 2
    scene = taught_scene("gate", frames, [Says(100, 100, 200, 400), Says(100, 100, 200, 400), Says(800, 0, 900, 300)])
    assert scene.frames.shape == (2, 360, 640, 3)
    for people, doubtful in zip(scene.people, scene.doubtful, strict=True):
        np.testing.assert_allclose(people, [[50, 50, 100, 200]])
        np.testing.assert_allclose(doubtful, [[400, 0, 450, 150]])


def test_true_boxes_are_people_whatever_the_teachers_say() -> None:
    frames = [np.zeros((360, 640, 3), np.uint8)] * 2
    truth = [np.array([[10, 10, 40, 90]], np.float32), np.zeros((0, 4), np.float32)]
    scene = taught_scene("gate", frames, [Says(), Says()], truth)
    assert [len(people) for people in scene.people] == [1, 0]


def test_frames_of_a_zip_come_with_their_boxes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "frames.zip", "w") as archive:
        for name, grey in (("b.jpg", 200), ("a.jpg", 20)):
            coded = cv2.imencode(".jpg", np.full((40, 60, 3), grey, np.uint8))[1]
            archive.writestr(f"folder/{name}", coded.tobytes())
    (tmp_path / "boxes.txt").write_text("b.jpg\n2\n-1 5 6 10 20\n0 1 2 3 4\na.jpg\n0\n")
    images, boxes = zipped_images(tmp_path / "frames.zip", tmp_path / "boxes.txt")
    assert [int(image.mean()) for image in images] == [20, 200]
    np.testing.assert_allclose(boxes[1], [[5, 6, 15, 26], [1, 2, 4, 6]])
    assert boxes[0].shape == (0, 4)


def test_a_missing_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        zipped_images(tmp_path / "frames.zip", tmp_path / "boxes.txt")


@pytest.mark.parametrize("text", ["0.png", "0.png\nmany", "0.png\n2\n1 2 3 4", "0.png\n1\n1 2 3 x", "1.png\n0"])
def test_a_list_of_boxes_in_another_form_is_refused(tmp_path: Path, text: str) -> None:
    with zipfile.ZipFile(tmp_path / "frames.zip", "w") as archive:
        archive.writestr("0.png", b"")
    (tmp_path / "boxes.txt").write_text(text)
    with pytest.raises(ConfigurationError, match="expected a zip of frames and a text with a name, a count"):
        zipped_images(tmp_path / "frames.zip", tmp_path / "boxes.txt")


def test_a_simulated_scene_holds_everybody_who_is_before_the_camera() -> None:
    scene = simulated_scene(103, 0, frames=6, people=9)
    site = SimulatedSite(103, 1, 9, (352, 288))
    assert scene.frames.shape == (6, 288, 352, 3)
    assert sum(map(len, scene.people)) > 0
    for number in range(6):
        np.testing.assert_array_equal(scene.frames[number], site.render(0, number * 7.3))
        assert len(scene.people[number]) + len(scene.doubtful[number]) <= len(site.appearances(0, number * 7.3))
