"""From prepared scenes to a bundle that the running system opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.adapters.detector_bundle import verified_detector
from pipeline.adapters.onnx_detector import OnnxDetector, OnnxDetectorConfig
from pipeline.contracts import CameraId, Frame
from pipeline.errors import ConfigurationError
from reid_models.detection.network import PersonDetector
from reid_models.detection.scenes import load_scenes, save_scene
from reid_models.detection.scoring import ScoreChoice
from services.detector_training import app, chosen, write_bundle
from tests.detection_figures import walk


def test_a_run_that_has_learnt_nothing_is_not_published(tmp_path: Path) -> None:
    save_scene(tmp_path / "scenes", walk(120))
    folders = ["--scenes", str(tmp_path / "scenes")]
    trained = CliRunner().invoke(
        app, ["train", *folders, "--out", str(tmp_path / "run"), "--epochs", "1", "--batches", "1"]
    )
    assert trained.exit_code == 0, trained.output
    arguments = ["publish", *folders, "--run", str(tmp_path / "run"), "--out", str(tmp_path / "mine")]
    published = CliRunner().invoke(app, [*arguments, "--licence", "mine", "--height", "96", "--width", "128"])
    assert isinstance(published.exception, ConfigurationError)
    judged = CliRunner().invoke(app, [*arguments, "--licence", "mine", "--judge", str(tmp_path / "run")])
    assert isinstance(judged.exception, ConfigurationError) and "--judged-on" in str(judged.exception)
    assert not (tmp_path / "mine").exists()


def test_simulated_cameras_become_scenes_and_can_be_held_out(tmp_path: Path) -> None:
    made = CliRunner().invoke(
        app, ["simulated", "--scenes", str(tmp_path), "--sites", "2", "--cameras", "1", "--frames", "2"]
    )
    assert made.exit_code == 0, made.output
    scenes = load_scenes(tmp_path)
    assert [scene.name for scene in scenes] == ["simulated-101-0", "simulated-102-0"]
    assert [scene.name for scene in chosen(scenes, ["simulated-102"])] == ["simulated-101-0"]
    assert chosen(scenes, []) == scenes


@pytest.mark.parametrize("size", [(96, 128), (128, 96)])
def test_a_bundle_of_any_size_opens(tmp_path: Path, size: tuple[int, int]) -> None:
    choice = ScoreChoice(0.3, 0.8, 0.8, 0.8, 10)
    manifest = write_bundle(tmp_path / "mine", PersonDetector().eval(), choice, [walk(8)], "mine", size)
    assert verified_detector(tmp_path / "mine") == manifest
    assert manifest.training.description == "8 frames of yard"
    detector = OnnxDetector(tmp_path / "mine", OnnxDetectorConfig(runtime="onnxruntime"))
    frame = Frame(CameraId("yard"), np.zeros((90, 160, 3), np.uint8), 0.0, 0)
    assert detector.detect([frame, frame])[0].boxes.shape[1] == 4
