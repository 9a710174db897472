"""`sightline import-detector`: networks of every layout by the command line, and what is said of others."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import onnx
import pytest
from typer.testing import CliRunner, Result

from pipeline.adapters.detector_bundle import DetectorManifest, verified_detector
from pipeline.adapters.onnx_detector import OnnxDetector, OnnxDetectorConfig
from pipeline.camera.yolo import Layout
from pipeline.errors import ConfigurationError
from services.cli import app
from tests.tiny_detectors import HEIGHT_PX, WIDTH_PX, red_square, write_detector


def imported(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["import-detector", *words, "--data-dir", str(folder / "site")])


def refusal(folder: Path, *words: str) -> str:
    done = imported(folder, *words)
    assert isinstance(done.exception, ConfigurationError), done.output
    assert not (folder / "site").exists()
    return str(done.exception)


def with_notes(file: Path, **notes: str) -> Path:
    """As Ultralytics writes task, classes and licence into a file."""
    model = onnx.load(str(file))
    onnx.helper.set_model_props(model, notes)
    onnx.save(model, str(file))
    return file


def made(folder: Path, done: Result, name: str = "tiny") -> DetectorManifest:
    assert done.exit_code == 0, done.output
    return verified_detector(folder / "site" / "detectors" / name)


@pytest.mark.parametrize("layout", list(Layout))
def test_a_network_becomes_a_folder_that_says_how_to_run_it(tmp_path: Path, layout: Layout) -> None:
    file = write_detector(tmp_path / "tiny.onnx", layout)
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), red_square(2, 1).image[..., ::-1])
    done = imported(tmp_path, str(file), "--picture", str(picture))
    manifest = made(tmp_path, done)
    assert manifest.layout is layout
    assert (manifest.input_height_px, manifest.input_width_px) == (HEIGHT_PX, WIDTH_PX)
    assert (manifest.person_class, manifest.classes) == (0, 1)
    assert "by others" in manifest.training.description and "unknown" in manifest.licence
    assert "1 persons found" in done.output and "tracking.detector_model" in done.output
    detector = OnnxDetector(tmp_path / "site" / "detectors" / "tiny", OnnxDetectorConfig("onnxruntime"))
    assert detector.detect([red_square(1, 1)])[0].boxes[0] == pytest.approx([64, 64, 128, 128], abs=1)


def test_notes_in_the_file_name_the_person_and_the_licence(tmp_path: Path) -> None:
    file = write_detector(tmp_path / "tiny.onnx", Layout.YOLOV8, classes=3)
    assert "--person-class" in refusal(tmp_path, str(file))
    with_notes(file, names="{0: 'car', 1: 'dog', 2: 'Person'}", task="detect", license="AGPL-3.0")
    manifest = made(tmp_path, imported(tmp_path, str(file)))
    assert (manifest.person_class, manifest.classes, manifest.licence) == (2, 3, "AGPL-3.0")
    words = ["--name", "dogs", "--person-class", "1", "--min-score", "0.4", "--licence", "mine"]
    manifest = made(tmp_path, imported(tmp_path, str(file), *words), "dogs")
    assert (manifest.name, manifest.person_class, manifest.min_score) == ("dogs", 1, 0.4)
    assert manifest.licence == "mine"


def test_a_rendered_scene_is_tried_where_no_picture_is_given(tmp_path: Path) -> None:
    done = imported(tmp_path, str(write_detector(tmp_path / "tiny.onnx")))
    assert done.exit_code == 0 and "rendered scene" in done.output


def test_files_that_are_no_detectors_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    file = write_detector(tmp_path / "tiny.onnx", classes=3)
    (tmp_path / "text.onnx").write_text("no network")
    (tmp_path / "model.tflite").touch()
    assert "there is no file" in refusal(tmp_path, str(tmp_path / "missing.onnx"))
    assert "expected a detector in ONNX form" in refusal(tmp_path, str(tmp_path / "text.onnx"))
    assert "export the model as ONNX" in refusal(tmp_path, str(tmp_path / "model.tflite"))
    assert "expected 0 to 2" in refusal(tmp_path, str(file), "--person-class", "3")
    assert "128x192 pixels alone" in refusal(tmp_path, str(file), "--person-class", "2", "--image-size", "64x64")
    assert "give it a --name" in refusal(tmp_path, str(file), "--name", "../elsewhere")
    assert "cannot be read as a picture" in refusal(tmp_path, str(file), "--picture", str(tmp_path / "text.onnx"))
    assert "made for the task 'segment'" in refusal(tmp_path, str(with_notes(file, task="segment")))


def test_a_network_of_another_kind_is_refused_with_what_was_found_and_expected(tmp_path: Path) -> None:
    shapes = [onnx.helper.make_tensor_value_info(name, 1, [1, 3, 64, 64]) for name in ("picture", "answer")]
    node = onnx.helper.make_node("Relu", ["picture"], ["answer"])
    graph = onnx.helper.make_graph([node], "no detector", shapes[:1], shapes[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "other.onnx"))
    told = refusal(tmp_path, str(tmp_path / "other.onnx"))
    assert "(1, 3, 64, 64)" in told and "as YOLOX" in told and "export" in told


@pytest.mark.skipif(importlib.util.find_spec("ultralytics") is None, reason="the extra ultralytics is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ultralytics' exporter
def test_a_checkpoint_of_ultralytics_is_exported_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    from pipeline.adapters.ultralytics_models import _ultralytics  # which tidies up behind the library

    _ultralytics().YOLO("yolo11n.yaml").save(str(tmp_path / "own.pt"))
    manifest = made(tmp_path, imported(tmp_path, str(tmp_path / "own.pt"), "--image-size", "64x96"), "own")
    assert (manifest.input_height_px, manifest.input_width_px) == (64, 96)
    assert manifest.layout is Layout.YOLOV8 and manifest.licence.startswith("AGPL-3.0")
    (tmp_path / "broken.pt").write_bytes(b"nonsense")
    done = imported(tmp_path, str(tmp_path / "broken.pt"))
    assert isinstance(done.exception, ConfigurationError) and "cannot be exported" in str(done.exception)
