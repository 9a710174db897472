"""Which runtime a detector gets: the same boxes first, then speed, once for a machine."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from pipeline.adapters import detector_trial
from pipeline.adapters.detector_trial import REFERENCE, agreement, fastest, kept_trial, scenes, try_out
from pipeline.adapters.onnx_detector import OnnxDetector, OnnxDetectorConfig
from pipeline.contracts import F32, Detections
from pipeline.runtimes.machine import CACHE_VARIABLE
from pipeline.runtimes.trial import Candidate, Outcome, Trial
from tests.tiny_detectors import write_detector

AUTO = OnnxDetectorConfig()


def row_of_people(count: int, shift_px: float = 0.0, score: float = 0.8) -> Detections:
    left = np.arange(count, dtype=np.float32) * 100 + shift_px
    boxes: F32 = np.stack([left, left * 0, left + 40, left * 0 + 100], axis=1).astype(np.float32)
    return Detections(boxes, np.full(count, score, np.float32))


@given(st.integers(10, 30), st.floats(0, 3), st.floats(0, 0.09))
def test_boxes_that_hardly_moved_are_the_same(count: int, shift_px: float, less: float) -> None:
    assert agreement([row_of_people(count)], [row_of_people(count, shift_px, 0.8 - less)], 0.1) == 1.0


@given(st.integers(10, 30), st.integers(0, 9))
def test_missing_moved_and_doubted_boxes_count_on_both_sides(count: int, missing: int) -> None:
    assert agreement([row_of_people(count)], [row_of_people(count, 20.0)], 0.1) == 0.0
    assert agreement([row_of_people(count)], [row_of_people(count, score=0.5)], 0.1) == 0.0
    share = agreement([row_of_people(count)], [row_of_people(count - missing)], 0.1)
    assert share == pytest.approx(2 * (count - missing) / (2 * count - missing))


def test_weak_boxes_are_compared_where_there_are_no_better_ones() -> None:
    weak = row_of_people(12, score=0.02)
    assert agreement([weak], [weak], 0.5) == 1.0
    assert agreement([weak], [Detections.none()], 0.5) == 0.0
    assert agreement([row_of_people(3)], [row_of_people(3)], 0.1) is None  # too few to say anything


def test_scenes_are_the_same_each_time() -> None:
    first, second = list(scenes()), list(scenes())
    assert len(first) == 8
    assert all(np.array_equal(one.image, other.image) for one, other in zip(first, second, strict=True))


def test_candidates_run_in_processes_of_their_own_and_the_failing_one_says_why(tmp_path: Path) -> None:
    model = write_detector(tmp_path / "tiny.onnx")
    trial = try_out(model, AUTO, [REFERENCE, Candidate("openvino", "fp32"), Candidate("onnxruntime", "bf16")])
    reference, other, impossible = trial.outcomes
    assert not reference.problem and (reference.crops_per_s or 0) > 0 and (reference.latency_s or 0) > 0
    assert not other.problem
    assert "precision of the file" in impossible.problem and impossible.crops_per_s is None


def test_a_trial_is_made_once_and_its_winner_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    model = write_detector(tmp_path / "tiny.onnx")
    made: list[Path] = []

    def quick(file: Path, config: OnnxDetectorConfig, candidates: list[Candidate]) -> Trial:
        made.append(file)
        speeds = {Candidate("onnxruntime", "fp32"): 50.0, Candidate("openvino", "fp32"): 90.0}
        return Trial(
            outcomes=tuple(
                Outcome(runtime=one.runtime, precision=one.precision, crops_per_s=speed)
                for one, speed in speeds.items()
            )
        )

    monkeypatch.setattr(detector_trial, "try_out", quick)
    assert kept_trial(model, AUTO) is None
    assert OnnxDetector(model).runtime == "openvino fp32"
    assert fastest(model, AUTO) == ("openvino", "fp32")
    assert made == [model]
    other = OnnxDetectorConfig(threads=2)
    assert kept_trial(model, AUTO) is not None and kept_trial(model, other) is None


def test_without_a_candidate_that_passes_the_plain_runtime_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    failed = Trial(outcomes=(Outcome(runtime="openvino", precision="fp32", problem="broken"),))
    monkeypatch.setattr(detector_trial, "try_out", lambda *_: failed)
    assert fastest(write_detector(tmp_path / "tiny.onnx"), AUTO) == ("onnxruntime", "fp32")


def test_a_machine_that_keeps_nothing_runs_the_plain_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    assert fastest(write_detector(tmp_path / "tiny.onnx"), AUTO) == ("onnxruntime", "fp32")
    assert CACHE_VARIABLE in caplog.text
