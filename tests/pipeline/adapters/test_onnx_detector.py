"""ONNX detectors of every layout, from bare files and from folders with a manifest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.adapters.detector_bundle import (
    MANIFEST,
    MODEL,
    read_detector_manifest,
    save_detector,
    verified_detector,
)
from pipeline.adapters.onnx_detector import OnnxDetector, OnnxDetectorConfig, RuntimeOfDetectors
from pipeline.camera.yolo import Layout
from pipeline.contracts import CameraId, Frame
from pipeline.errors import ConfigurationError, ModelVersionMismatch
from tests.tiny_detectors import HEIGHT_PX, red_square, write_detector

PLAIN = OnnxDetectorConfig("onnxruntime", min_score=0.3)


def bundle(folder: Path, **changes: object) -> Path:
    file = write_detector(folder / "tiny.onnx")
    manifest = OnnxDetector(file, PLAIN).manifest.model_copy(update=changes)
    save_detector(folder / "tiny", file.read_bytes(), manifest)
    return folder / "tiny"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("layout", list(Layout))
def test_every_layout_finds_whom_it_sees_where_he_stands(
    tmp_path: Path, layout: Layout, runtime: RuntimeOfDetectors
) -> None:
    detector = OnnxDetector(write_detector(tmp_path / "tiny.onnx", layout), OnnxDetectorConfig(runtime, min_score=0.3))
    assert (detector.manifest.layout, detector.name) == (layout, "onnx:tiny")
    found = detector.detect([red_square(2, 1), red_square(0, 3, "gate")])
    assert found[0].boxes == pytest.approx(np.array([[128, 64, 192, 128]]), abs=0.5)
    assert found[1].boxes == pytest.approx(np.array([[0, 192, 64, 256]]), abs=0.5)
    assert [len(detection) for detection in detector.detect([red_square(1, 1)] * 3)] == [1, 1, 1]


@pytest.mark.parametrize(("has_open_batch", "together"), [(False, 1), (True, 1), (True, 3), (True, 8)])
def test_batches_of_any_size_give_what_single_frames_give(tmp_path: Path, has_open_batch: bool, together: int) -> None:
    model = write_detector(tmp_path / "tiny.onnx", has_open_batch=has_open_batch)
    detector = OnnxDetector(model, replace(PLAIN, usual_frames=together))
    frames = [red_square(column, column % 4) for column in range(5)]
    apart = [detector.detect([frame])[0] for frame in frames]
    for together, alone in zip(detector.detect(frames), apart, strict=True):
        assert np.allclose(together.boxes, alone.boxes) and np.allclose(together.scores, alone.scores)
    assert detector.detect([]) == []


def test_frames_of_other_shapes_come_back_in_their_own_pixels(tmp_path: Path) -> None:
    detector = OnnxDetector(write_detector(tmp_path / "tiny.onnx", Layout.YOLOV8), PLAIN)
    tall = np.full((4 * HEIGHT_PX, 256, 3), 90, np.uint8)  # shrinks to a quarter, and lies 64 px from the left
    tall[128:256, 0:128] = (250, 10, 10)
    (found,) = detector.detect([Frame(CameraId("yard"), tall, 0.0, 0)])
    assert found.boxes[0] == pytest.approx([0, 128, 128, 256], abs=1)


def test_a_folder_says_itself_how_it_is_run(tmp_path: Path) -> None:
    detector = OnnxDetector(bundle(tmp_path, name="mine", min_score=0.95), OnnxDetectorConfig("onnxruntime"))
    assert detector.name == "onnx:mine"
    assert len(detector.detect([red_square(1, 1)])[0]) == 0  # it scores 0.94
    assert len(OnnxDetector(tmp_path / "tiny", PLAIN).detect([red_square(1, 1)])[0]) == 1


def test_a_changed_folder_is_refused(tmp_path: Path) -> None:
    folder = bundle(tmp_path)
    assert verified_detector(folder) == read_detector_manifest(folder)
    described = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(described | {"channels": "rgb"}))
    with pytest.raises(ModelVersionMismatch, match="one of the two files was changed"):
        OnnxDetector(folder, PLAIN)
    (folder / MANIFEST).write_text(json.dumps(described | {"licence": "MIT", "min_score": 0.4}))
    assert verified_detector(folder).licence == "MIT"  # notes and threshold do not make it another network
    (folder / MANIFEST).write_text(json.dumps(described | {"colour": "red"}))
    with pytest.raises(ConfigurationError, match="colour"):
        verified_detector(folder)
    (folder / MANIFEST).write_text(json.dumps(described))
    (folder / MODEL).unlink()
    with pytest.raises(ConfigurationError, match="copy the whole folder again"):
        verified_detector(folder)
    with pytest.raises(ConfigurationError, match="sightline import-detector"):
        verified_detector(tmp_path)
