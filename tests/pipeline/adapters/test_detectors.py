"""Detectors by name, and motion on painted pictures; the networks run where their files are."""

from __future__ import annotations

import importlib.util
import io
import os
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from pipeline.adapters.motion_detector import MotionDetector, MotionDetectorConfig
from pipeline.adapters.onnx_detector import OnnxDetector, OnnxDetectorConfig, RuntimeOfDetectors
from pipeline.camera.tracker import ByteTracker
from pipeline.contracts import CameraId, Detections, Frame
from pipeline.errors import ConfigurationError
from services.detection import DETECTORS, DetectorOptions, choose_detector, open_detector, open_tracker

needs_data = pytest.mark.skipif("SIGHTLINE_DATA" not in os.environ, reason="SIGHTLINE_DATA names no folder of footage")
# Not `importorskip`: it would import the library past our adapter, which tidies up behind it.
needs_ultralytics = pytest.mark.skipif(
    importlib.util.find_spec("ultralytics") is None, reason="the extra ultralytics is not installed"
)
MODELS = Path(os.environ.get("SIGHTLINE_DATA", ".")).parent / "models" / "detectors"
ENTERS = 30  # by then the background is known well
VIDEO = Path(os.environ.get("SIGHTLINE_DATA", ".")) / "video" / "pets09-s2l1" / "video.mp4"


def scene(index: int, camera_id: str = "yard", size: tuple[int, int] = (320, 240)) -> Frame:
    """A noisy wall, and a person of 25 x 80 px in motley clothes who walks to the right from frame ENTERS."""
    rng = np.random.default_rng(index)
    image = np.full((size[1], size[0], 3), 120, np.int16) + rng.integers(-4, 5, (size[1], size[0], 3))
    if index >= ENTERS:
        left = 10 + 4 * (index - ENTERS)
        image[100:180, left : left + 25] = rng.integers(0, 256, (80, 25, 3))
    return Frame(CameraId(camera_id), np.clip(image, 0, 255).astype(np.uint8), index / 10, index)


def overlap(found: Detections, box: tuple[int, int, int, int]) -> float:
    (seen,) = found.boxes
    width = min(seen[2], box[2]) - max(seen[0], box[0])
    height = min(seen[3], box[3]) - max(seen[1], box[1])
    shared = float(max(width, 0) * max(height, 0))
    areas = (seen[2] - seen[0]) * (seen[3] - seen[1]) + (box[2] - box[0]) * (box[3] - box[1])
    return shared / (float(areas) - shared)


def test_motion_finds_who_walks_and_nobody_before() -> None:
    detector = MotionDetector()
    for index in range(ENTERS + 30):
        (found,) = detector.detect([scene(index)])
        assert len(found) == (index >= ENTERS)
        if index >= ENTERS:
            left = 10 + 4 * (index - ENTERS)
            assert overlap(found, (left, 100, left + 25, 180)) > 0.5


def test_motion_keeps_the_backgrounds_of_cameras_apart() -> None:
    together, alone = MotionDetector(), MotionDetector()
    other = np.zeros((240, 320, 3), np.uint8)
    for index in range(ENTERS + 20):
        frame = scene(index)
        both = together.detect([frame, Frame(CameraId("gate"), other, index / 10, index)])
        (expected,) = alone.detect([frame])
        assert np.array_equal(both[0].boxes, expected.boxes)
        assert len(both[1]) == 0


def test_motion_learns_anew_when_the_picture_changes_its_size() -> None:
    detector = MotionDetector()
    for index in range(8):
        detector.detect([scene(index)])
    for index in range(8):
        assert len(detector.detect([scene(index, size=(400, 300))])[0]) == 0


def test_a_change_of_light_is_no_crowd() -> None:
    detector = MotionDetector(MotionDetectorConfig(warm_up_frames=3))
    for index in range(9):
        detector.detect([scene(index)])
    bright = Frame(CameraId("yard"), np.full((240, 320, 3), 250, np.uint8), 0.9, 9)
    assert len(detector.detect([bright])[0]) == 0


def test_boxes_are_in_the_pixels_of_a_large_frame() -> None:
    detector = MotionDetector()
    for index in range(ENTERS + 15):
        frame = scene(index)
        large = cv2.resize(frame.image, (1280, 960), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        (found,) = detector.detect([Frame(frame.camera_id, large, frame.captured_at, index)])
    left = 4 * (10 + 4 * 14)
    assert overlap(found, (left, 400, left + 100, 720)) > 0.5


def test_auto_takes_the_users_model_then_ultralytics_own_then_the_shipped_then_motion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)  # the extra counts as installed
    shipped, weights, own = tmp_path / "shipped", tmp_path / "weights", tmp_path / "own"
    for folder in (shipped, weights, own):
        folder.mkdir()

    def chosen(model: Path | None = None) -> tuple[str, Path | None]:
        choice = choose_detector("auto", model, [own], shipped)
        return choice.kind, choice.model

    assert chosen() == ("motion", None)
    (shipped / "manifest.json").touch()
    assert chosen() == ("person-nano", shipped)
    for name in ("yolo11n-seg.pt", "mine.pt", "yolo11n.yaml", "yolo11n.pt.part"):
        (own / name).touch()
    assert chosen() == ("person-nano", shipped)
    (own / "yolo11s.pt").write_bytes(b"large")
    assert chosen() == ("ultralytics", own / "yolo11s.pt")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "settings.json").write_text(f'{{"weights_dir": "{weights}"}}')
    (weights / "yolov8n.pt").write_bytes(b"tiny")
    assert chosen() == ("ultralytics", weights / "yolov8n.pt")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert chosen() == ("person-nano", shipped)
    assert chosen(shipped) == ("onnx", shipped)
    assert chosen(Path("mine.onnx")) == ("onnx", Path("mine.onnx"))
    assert chosen(Path("mine.pt")) == ("ultralytics", Path("mine.pt"))


def test_auto_goes_by_the_model_file() -> None:
    for file, word in (("missing.onnx", r"an \.onnx file"), ("missing.pt", "YOLO checkpoint")):
        with pytest.raises(ConfigurationError, match=word):
            open_detector("auto", Path(file))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=", ".join(DETECTORS)):
        open_detector("yolo", None)
    with pytest.raises(ConfigurationError, match="bytetrack, botsort"):
        open_tracker("sort")
    assert isinstance(open_tracker("bytetrack"), ByteTracker)


@pytest.mark.parametrize("name", ["onnx", "ultralytics"])
def test_a_network_without_a_file_says_what_is_needed(name: str) -> None:
    with pytest.raises(ConfigurationError, match="needs a model"):
        open_detector(name, None)


@pytest.mark.parametrize("content", [b"", b"no network at all"])
def test_a_file_that_is_no_network_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.onnx"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"broken\.onnx"):
        OnnxDetector(file, OnnxDetectorConfig(runtime="onnxruntime"))


def _pets_frames(count: int) -> list[Frame]:
    from services.evaluation.tracking import read_video

    frames = []
    for frame in read_video(VIDEO):
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


@needs_data
@pytest.mark.data
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_yolox_finds_the_people_of_a_real_yard(runtime: RuntimeOfDetectors) -> None:
    detector = OnnxDetector(MODELS / "yolox_nano_416_coco.onnx", OnnxDetectorConfig(runtime=runtime, min_score=0.5))
    first, second = detector.detect(_pets_frames(2))
    assert 3 <= len(first) <= 10
    assert abs(len(first) - len(second)) <= 2


@needs_data
@pytest.mark.data
def test_a_network_of_another_kind_is_refused() -> None:
    file = MODELS.parent / "reid" / "osnet_x0_25_msmt17.onnx"
    with pytest.raises(ConfigurationError, match="expected"):
        OnnxDetector(file, OnnxDetectorConfig(runtime="onnxruntime"))


@needs_data
@pytest.mark.data
@needs_ultralytics
def test_ultralytics_reads_an_exported_folder() -> None:
    detector = open_detector("auto", MODELS / "yolov8n_int8_openvino_model", DetectorOptions(min_score=0.4))
    (found,) = detector.detect(_pets_frames(1))
    assert 3 <= len(found) <= 10


@needs_ultralytics
def test_ultralytics_tracker_numbers_from_one_and_keeps_numbers() -> None:
    for _ in range(2):
        tracker = open_tracker("botsort")
        for index in range(10):
            boxes = np.array([[10 + index, 10, 50 + index, 110]], np.float32)
            tracks = tracker.update(Detections(boxes, np.array([0.9], np.float32)), index / 10)
        assert tracks.track_ids.tolist() == [1]
        assert tracks.boxes == pytest.approx(boxes, abs=6)
        assert len(tracker.update(Detections.none(), 2.0)) == 0


@needs_ultralytics
def test_ultralytics_leaves_pillow_as_it_is() -> None:
    open_tracker("botsort")
    with pytest.raises(PIL.UnidentifiedImageError):
        PIL.Image.open(io.BytesIO(b"nonsense"))
