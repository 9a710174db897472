"""`sightline import-detector`: networks of every layout by the command line, and what is said of others."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

from pipeline.adapters.detector_bundle import INT8_MODEL, DetectorManifest, verified_detector
from pipeline.adapters.detector_quantising import LEAST_PICTURES, inner_convolutions
from pipeline.adapters.detector_trial import candidates
from pipeline.adapters.onnx_detector import OnnxDetector, OnnxDetectorConfig
from pipeline.camera.yolo import Layout
from pipeline.errors import ConfigurationError, ModelVersionMismatch
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


def picture_of(folder: Path) -> Path:
    """Somebody to be found; quicker than a scene that has to be rendered."""
    cv2.imwrite(str(folder / "picture.png"), red_square(2, 1).image[..., ::-1])
    return folder / "picture.png"


@pytest.mark.parametrize("layout", list(Layout))
def test_a_network_becomes_a_folder_that_says_how_to_run_it(tmp_path: Path, layout: Layout) -> None:
    file = write_detector(tmp_path / "tiny.onnx", layout)
    done = imported(tmp_path, str(file), "--picture", str(picture_of(tmp_path)))
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
    seen = ["--picture", str(picture_of(tmp_path))]
    assert "--person-class" in refusal(tmp_path, str(file), *seen)
    with_notes(file, names="{0: 'car', 1: 'dog', 2: 'Person'}", task="detect", license="AGPL-3.0")
    manifest = made(tmp_path, imported(tmp_path, str(file), *seen))
    assert (manifest.person_class, manifest.classes, manifest.licence) == (2, 3, "AGPL-3.0")
    words = ["--name", "dogs", "--person-class", "1", "--min-score", "0.4", "--licence", "mine"]
    manifest = made(tmp_path, imported(tmp_path, str(file), *words, *seen), "dogs")
    assert (manifest.name, manifest.person_class, manifest.min_score) == ("dogs", 1, 0.4)
    assert manifest.licence == "mine"


def test_a_rendered_scene_is_tried_where_no_picture_is_given(tmp_path: Path) -> None:
    file = write_detector(tmp_path / "tiny.onnx")
    done = imported(tmp_path, str(file))
    assert done.exit_code == 0 and "rendered scene" in done.output
    stale = tmp_path / "site" / "detectors" / "tiny" / "stale"
    stale.touch()
    made(tmp_path, imported(tmp_path, str(file), "--picture", str(picture_of(tmp_path))))
    assert not stale.exists(), "one of the same name is replaced as a whole"
    assert [path.name for path in stale.parents[1].iterdir()] == ["tiny"]


def test_files_that_are_no_detectors_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    file = write_detector(tmp_path / "tiny.onnx", classes=3)
    (tmp_path / "text.onnx").write_text("no network")
    (tmp_path / "model.tflite").touch()
    seen = ["--picture", str(picture_of(tmp_path))]
    for words, told in (
        ([str(tmp_path / "missing.onnx"), *seen], "there is no file"),
        ([str(tmp_path / "text.onnx"), *seen], "expected a detector in ONNX form"),
        ([str(tmp_path / "model.tflite"), *seen], "export the model as ONNX"),
        ([str(file), "--person-class", "3", *seen], "expected 0 to 2"),
        ([str(file), "--person-class", "2", "--image-size", "64x64", *seen], "128x192 pixels alone"),
        ([str(file), "--name", "../elsewhere", *seen], "give it a --name"),
        ([str(file), "--picture", str(tmp_path / "text.onnx")], "cannot be read as a picture"),
    ):
        assert told in refusal(tmp_path, *words)
    assert "made for the task 'segment'" in refusal(tmp_path, str(with_notes(file, task="segment")), *seen)


def test_a_network_of_another_kind_is_refused_with_what_was_found_and_expected(tmp_path: Path) -> None:
    shapes = [onnx.helper.make_tensor_value_info(name, 1, [1, 3, 64, 64]) for name in ("picture", "answer")]
    node = onnx.helper.make_node("Relu", ["picture"], ["answer"])
    graph = onnx.helper.make_graph([node], "no detector", shapes[:1], shapes[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "other.onnx"))
    told = refusal(tmp_path, str(tmp_path / "other.onnx"))
    assert "(1, 3, 64, 64)" in told and "as YOLOX" in told and "export" in told


def test_int8_comes_with_pictures_and_is_checked_with_the_rest(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for number in range(LEAST_PICTURES):
        cv2.imwrite(str(pictures / f"{number}.png"), rng.integers(0, 256, (64, 96, 3), np.uint8))
    file = write_convolutions(tmp_path / "deep.onnx")
    assert inner_convolutions(file) == ["second", "third"]
    done = imported(tmp_path, str(file), "--calibrate", str(pictures))
    manifest = made(tmp_path, done, "deep")
    folder = tmp_path / "site" / "detectors" / "deep"
    assert manifest.int8_digest is not None and "int8 network" in done.output
    assert [str(one) for one in candidates(folder)][-2:] == ["onnxruntime int8", "openvino int8"]
    exact = OnnxDetector(folder, OnnxDetectorConfig("onnxruntime"))
    int8 = OnnxDetector(folder, OnnxDetectorConfig("onnxruntime", precision="int8"))
    assert (exact.runtime, int8.runtime) == ("onnxruntime fp32", "onnxruntime int8")
    frame = red_square(2, 1)
    assert len(int8.detect([frame])[0]) == len(exact.detect([frame])[0])
    (folder / INT8_MODEL).write_bytes(b"changed")
    with pytest.raises(ModelVersionMismatch, match="model-int8"):
        verified_detector(folder)
    done = imported(tmp_path, str(folder))
    assert isinstance(done.exception, ConfigurationError) and "--calibrate" in str(done.exception)
    plain = imported(tmp_path, str(write_detector(tmp_path / "tiny.onnx")), "--calibrate", str(pictures))
    assert "no convolutions" in str(plain.exception)
    with pytest.raises(ConfigurationError, match="no network in int8"):
        OnnxDetector(tmp_path / "site" / "detectors" / "tiny", OnnxDetectorConfig("onnxruntime", precision="int8"))


def write_convolutions(file: Path) -> Path:
    """Four convolutions in a row that end in what a YOLOX of 64 x 64 pixels would give."""
    rng = np.random.default_rng(0)
    shapes = {"first": (4, 3, 8), "second": (4, 4, 1), "third": (4, 4, 1), "last": (6, 4, 1)}
    weights = {
        name: rng.normal(0, 0.02, (after, before, size, size)).astype(np.float32)
        for name, (after, before, size) in shapes.items()
    }
    names = ["picture", "one", "two", "three", "cells"]
    nodes = [
        onnx.helper.make_node("Conv", [names[place], name], [names[place + 1]], name=name, strides=[steps, steps])
        for place, (name, steps) in enumerate(zip(shapes, (8, 1, 1, 1), strict=True))
    ]
    # 64 + 16 + 4 cells: the finest grid, then parts of it in the place of the others.
    nodes += [
        onnx.helper.make_node("Reshape", ["cells", "flat"], ["rows"]),
        onnx.helper.make_node("Transpose", ["rows"], ["finest"], perm=[0, 2, 1]),
        onnx.helper.make_node("Slice", ["finest", "begin", "end", "axis"], ["coarser"]),
        onnx.helper.make_node("Concat", ["finest", "coarser"], ["output"], axis=1),
    ]
    numbers = {"flat": [1, 6, 64], "begin": [0], "end": [20], "axis": [1]}
    constants = [onnx.numpy_helper.from_array(weight, name) for name, weight in weights.items()]
    constants += [onnx.numpy_helper.from_array(np.array(value, np.int64), name) for name, value in numbers.items()]
    ends = [onnx.helper.make_tensor_value_info("picture", 1, [1, 3, 64, 64])]
    ends.append(onnx.helper.make_tensor_value_info("output", 1, [1, 84, 6]))
    graph = onnx.helper.make_graph(nodes, "deep", ends[:1], ends[1:], constants)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), str(file))
    return file


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
