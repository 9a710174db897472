"""The shipped detector is whole, small, and as good as was stated."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from pipeline.adapters.detector_bundle import MODEL, verified_detector
from pipeline.adapters.onnx_detector import OnnxDetector, OnnxDetectorConfig
from pipeline.adapters.simulated_site import SimulatedAddress
from pipeline.adapters.simulation.truth import true_boxes
from pipeline.contracts import CameraId, Detections, Frame, Tracks
from services.detection import SHIPPED
from services.evaluation.detector import score_detections
from services.evaluation.tracking import read_mot, read_video

BASELINE = json.loads((Path(__file__).parents[2] / "baselines" / "person_nano.json").read_text(encoding="utf-8"))
TOLERANCE = 0.02


@pytest.fixture(scope="module")
def detector() -> OnnxDetector:
    return OnnxDetector(SHIPPED, OnnxDetectorConfig(runtime="onnxruntime"))


def test_the_bundle_is_whole_and_small() -> None:
    manifest = verified_detector(SHIPPED)
    assert manifest.name == "person-nano"
    assert "research" in manifest.licence
    network = onnx.load(str(SHIPPED / MODEL))
    assert sum(int(np.prod(tensor.dims)) for tensor in network.graph.initializer) <= 3_000_000
    assert (SHIPPED / MODEL).stat().st_size < 7_000_000


def test_it_finds_the_people_of_simulated_sites_that_it_has_not_seen(detector: OnnxDetector) -> None:
    stored = BASELINE["simulated"]
    truth: dict[int, Tracks] = {}
    found: dict[int, Detections] = {}
    for seed in stored["seeds"]:
        site = SimulatedAddress(seed=seed, cameras=1, people=10).site()
        for time_s in range(0, 60, 6):
            number = len(truth)
            boxes = [box.box_px for box in true_boxes(site, 0, time_s) if box.visibility > 0.3]
            rows = np.array(boxes, np.float32).reshape(-1, 4)
            truth[number] = Tracks(np.arange(len(rows)), rows, np.ones(len(rows), np.float32))
            found[number] = detector.detect([Frame(CameraId("0"), site.render(0, time_s), 0.0, number)])[0]
    assert sum(map(len, truth.values())) == stored["people"]
    assert score_detections(truth, found).f1 >= stored["f1"] - TOLERANCE


@pytest.mark.data
@pytest.mark.skipif("SIGHTLINE_DATA" not in os.environ, reason="SIGHTLINE_DATA names no folder of footage")
def test_it_finds_the_people_of_a_real_scene_that_it_has_not_seen(detector: OnnxDetector) -> None:
    stored = BASELINE["pets_every_tenth_frame"]
    folder = Path(os.environ["SIGHTLINE_DATA"]) / "video" / "pets09-s2l1"
    truth = read_mot(folder / "gt_768x576.txt", 0.625, counts_ignored=True)
    frames = {number: frame for number, frame in enumerate(read_video(folder / "video.mp4"), 1) if number % 10 == 0}
    found = {number: detector.detect([frame])[0] for number, frame in frames.items()}
    score = score_detections({number: truth[number] for number in frames if number in truth}, found)
    assert score.hits + score.misses == stored["people"]
    assert score.f1 >= stored["f1"] - TOLERANCE
