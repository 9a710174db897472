"""Which detector the settings mean, in words, and its trial before a group starts."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pipeline.adapters import detector_trial
from pipeline.adapters.onnx_detector import OnnxDetectorConfig
from pipeline.errors import ConfigurationError
from pipeline.runtimes.machine import CACHE_VARIABLE
from pipeline.runtimes.trial import Candidate, Outcome, Trial
from services import detection
from services.cli import _settings
from services.detection import configured_detector, detector_in_words, try_detector_runtimes
from services.settings import Settings, changed
from tests.tiny_detectors import write_detector


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The models that a trial was made of; ONNX Runtime wins."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    models: list[Path] = []

    def quick(model: Path, config: OnnxDetectorConfig, candidates: list[Candidate]) -> Trial:
        models.append(model)
        refused = Outcome(runtime="openvino", precision="bf16", problem="other boxes")
        return Trial(outcomes=(Outcome(runtime="onnxruntime", precision="fp32", crops_per_s=42.0), refused))

    monkeypatch.setattr(detector_trial, "try_out", quick)
    return models


def with_model(folder: Path, **tracking: object) -> Settings:
    return changed(Settings(data_dir=folder), {"tracking": tracking})


def test_the_trial_before_the_start_serves_the_worker(tmp_path: Path, tried: list[Path]) -> None:
    settings = with_model(tmp_path, detector_model=write_detector(tmp_path / "tiny.onnx"))
    try_detector_runtimes(settings)
    assert configured_detector(settings).name == "onnx:tiny"
    assert tried == [tmp_path / "tiny.onnx"]


def test_nothing_is_tried_where_nothing_is_open(tmp_path: Path, tried: list[Path]) -> None:
    model = write_detector(tmp_path / "tiny.onnx")
    for tracking in (
        {"detector": "motion"},
        {"detector": "no such"},
        {"detector_model": tmp_path / "missing.onnx"},
        {"detector_model": model, "detector_runtime": "onnxruntime"},
    ):
        try_detector_runtimes(with_model(tmp_path, **tracking))
    assert tried == []
    with pytest.raises(ConfigurationError, match="no model"):
        configured_detector(with_model(tmp_path, detector_model=tmp_path / "missing.onnx"))


def test_detector_reason_runtime_and_what_was_refused_are_told(
    tmp_path: Path, tried: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = with_model(tmp_path, detector_model=write_detector(tmp_path / "tiny.onnx"))
    with caplog.at_level(logging.INFO):
        told = detector_in_words(settings)
    for part in (
        "onnx:tiny",
        "the model that is set",
        "onnxruntime fp32: 42/s",
        "openvino bf16: other boxes",
        "licence",
    ):
        assert part in told
    assert "detector: onnx:tiny (the model that is set)" in caplog.text
    monkeypatch.setattr(detection, "SHIPPED", tmp_path / "nowhere")
    assert "motion" in detector_in_words(with_model(tmp_path, detector="motion"))


def test_the_shipped_detector_can_be_asked_for_by_name(tmp_path: Path, tried: list[Path]) -> None:
    if not (detection.SHIPPED / "manifest.json").is_file():
        pytest.skip("this checkout ships no detector")
    settings = with_model(tmp_path, detector="person-nano", detector_runtime="onnxruntime", detector_score=0.3)
    assert configured_detector(settings).name == "onnx:person-nano"


@pytest.mark.parametrize("kind", ["person-nano", "motion"])
def test_a_model_that_would_be_passed_over_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{kind}.*own.onnx.*take one of the two away"):
        configured_detector(with_model(tmp_path, detector=kind, detector_model=tmp_path / "own.onnx"))


def test_a_detector_of_the_command_line_takes_the_place_of_the_one_that_is_set(tmp_path: Path) -> None:
    model = tmp_path / "own.onnx"
    model.touch()
    file = tmp_path / "settings.yaml"
    file.write_text("tracking: {detector: motion}\n")
    tracking = _settings(file, None, tmp_path, detector=str(model)).tracking
    assert (tracking.detector, tracking.detector_model) == ("auto", model)
    file.write_text(f"tracking: {{detector_model: {model}}}\n")
    tracking = _settings(file, None, tmp_path, detector="motion").tracking
    assert (tracking.detector, tracking.detector_model) == ("motion", None)
    tracking = _settings(file, None, tmp_path, detector="onnx").tracking
    assert (tracking.detector, tracking.detector_model) == ("onnx", model)
