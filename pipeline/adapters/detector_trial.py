"""The short trial behind a detector's `auto`: each runtime in a process of its own, the same boxes first, then speed.

A candidate is right if it finds the boxes of ONNX Runtime in float32 on rendered scenes of people. Its process is
`python -m pipeline.adapters.detector_trial MODEL CONFIG`, which prints what it found and how fast.
"""

from __future__ import annotations

import hashlib
import json
import logging
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.boxes import overlaps
from pipeline.contracts import CameraId, Detections, Frame
from pipeline.runtimes.machine import CACHE_VARIABLE, cache_folder, fingerprint, processor_precisions
from pipeline.runtimes.networks import is_installed
from pipeline.runtimes.runtime import Precision
from pipeline.runtimes.timing import pass_seconds
from pipeline.runtimes.trial import Candidate, Outcome, Trial, as_text, read_trial, trial_once

if TYPE_CHECKING:
    from pipeline.adapters.onnx_detector import OnnxDetectorConfig, RuntimeOfDetectors

log = logging.getLogger(__name__)

REFERENCE = Candidate("onnxruntime", "fp32")
# What is "the same boxes". YOLOX-nano in bfloat16 agrees by 0.92 here, and loses 0.4 points of F1 on PETS09-S2L1.
LEAST_AGREEMENT = 0.9  # share of boxes, of both sides, that the other side has too
SAME_PLACE, SAME_SCORE = 0.8, 0.1  # least intersection over union, largest difference of scores
_LEAST_BOXES = 10  # that are compared; if fewer pass the threshold, the next best are taken too
_LOWEST_SCORE = 0.01
_PLAIN: tuple[RuntimeOfDetectors, Precision] = ("onnxruntime", "fp32")
_CANDIDATES = (REFERENCE, Candidate("openvino", "fp32"), Candidate("openvino", "bf16"))
_IN_INT8 = (Candidate("onnxruntime", "int8"), Candidate("openvino", "int8"))
_TIMED_S, _LEAST_ROUNDS = 0.7, 5
_PATIENCE_S = 120.0


class Found(BaseModel):
    """What one candidate says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames_per_s: float  # in batches of the usual size
    latency_s: float  # of one frame alone, pre- and post-processing included
    persons: tuple[tuple[tuple[float, float, float, float, float], ...], ...]  # x1, y1, x2, y2, score of each scene


def fastest(model: Path, config: OnnxDetectorConfig) -> tuple[RuntimeOfDetectors, Precision]:
    """Runtime and precision for this detector on this machine: as an earlier trial said, else by a trial now."""
    try:
        trial = trial_once(_kept_at(model, config), lambda: _tried(model, config))
    except OSError as error:
        log.warning("no trial of runtimes can be kept (%s); set %s to a folder to write in", error, CACHE_VARIABLE)
        return _PLAIN
    chosen = trial.chosen
    if chosen is None:
        # Whoever opens the network next learns the reason, with the remedy.
        log.warning("no runtime passed the trial of %s: %s", model.name, as_text(trial.outcomes))
        return _PLAIN
    return ("openvino", chosen.precision) if chosen.runtime == "openvino" else ("onnxruntime", chosen.precision)


def _tried(model: Path, config: OnnxDetectorConfig) -> Trial:
    log.info("measuring which runtime is the fastest for %s; once for this machine", model.name)
    trial = try_out(model, config, candidates(model))
    log.info("%s: %s", model.name, as_text(trial.outcomes))
    return trial


def kept_trial(model: Path, config: OnnxDetectorConfig) -> Trial | None:
    """What was measured here before; None if nothing was."""
    return read_trial(_kept_at(model, config))


def try_out(model: Path, config: OnnxDetectorConfig, candidates: Sequence[Candidate]) -> Trial:
    """Measure every candidate now, the reference first."""
    found = {candidate: _measured(model, config, candidate) for candidate in candidates}
    reference = found.get(REFERENCE)
    min_score = config.min_score or _LOWEST_SCORE
    return Trial(outcomes=tuple(_judged(one, result, reference, min_score) for one, result in found.items()))


def candidates(model: Path) -> list[Candidate]:
    """What is installed here, in what the processor multiplies in; int8 where the detector has a network for it."""
    from pipeline.adapters.onnx_detector import find_network

    known = find_network(model)[1]
    precisions = processor_precisions()
    usual = [one for one in _CANDIDATES if is_installed(one.runtime) and one.precision in precisions]
    # An int8 network is computed correctly, if slowly, by any processor.
    return usual + [one for one in _IN_INT8 if known and known.int8_digest and is_installed(one.runtime)]


def agreement(reference: Sequence[Detections], other: Sequence[Detections], min_score: float) -> float | None:
    """The share of boxes that both have, from 0 to 1, over all scenes; None if the reference has hardly any.

    Compared are those of at least `min_score`, or the best ten if these are fewer. A box has its twin if one of the
    other side lies at its place with its score. Each box counts, whichever side it is of.
    """
    scores = np.sort(np.concatenate([scene.scores for scene in reference]))[::-1]
    if len(scores) < _LEAST_BOXES:
        return None
    level = min(min_score, float(scores[_LEAST_BOXES - 1]))
    shared, boxes = 0, 0
    for ours, theirs in zip(reference, other, strict=True):
        for one, twin in ((ours, theirs), (theirs, ours)):
            counted = one.scores >= level
            boxes += int(counted.sum())
            shared += int(_has_twin(one, twin)[counted].sum())
    return shared / boxes


def scenes() -> Iterator[Frame]:
    """Rendered pictures of people, eight of them, the same on every machine."""
    from pipeline.adapters.simulation.site import SimulatedSite

    site = SimulatedSite(seed=11, cameras=4, people=40, size_px=(960, 540))
    for camera in range(4):
        for time_s in (10.0, 50.0):
            yield Frame(CameraId(f"scene{camera}"), site.render(camera, time_s), time_s, 0)


def _has_twin(one: Detections, twin: Detections) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    same_place = overlaps(one.boxes, twin.boxes) >= SAME_PLACE
    same_score = np.abs(one.scores[:, None] - twin.scores[None, :]) <= SAME_SCORE
    return np.asarray((same_place & same_score).any(axis=1))


def _judged(candidate: Candidate, result: Found | str, reference: Found | str | None, min_score: float) -> Outcome:
    if isinstance(result, str):
        return Outcome(runtime=candidate.runtime, precision=candidate.precision, problem=result)
    problem, share = "", None
    if candidate != REFERENCE and isinstance(reference, Found):
        share = agreement(_detections(reference), _detections(result), min_score)
        if share is None and candidate.precision != "fp32":
            problem = "nothing was found in the scenes by which its boxes could be checked"
        elif share is not None and not share >= LEAST_AGREEMENT:
            problem = f"only {share:.0%} of the boxes are those of {REFERENCE}; expected {LEAST_AGREEMENT:.0%}"
    elif candidate != REFERENCE:
        problem = f"{REFERENCE}, which it has to agree with, failed"
    return Outcome(
        runtime=candidate.runtime,
        precision=candidate.precision,
        problem=problem,
        crops_per_s=result.frames_per_s,
        latency_s=result.latency_s,
        similarity=share,
    )


def _detections(found: Found) -> list[Detections]:
    rows = [np.array(scene, np.float32).reshape(-1, 5) for scene in found.persons]
    return [Detections(boxes[:, :4], boxes[:, 4]) for boxes in rows]


def _kept_at(model: Path, config: OnnxDetectorConfig) -> Path:
    from pipeline.adapters.onnx_detector import find_network

    network, known = find_network(model)
    digest = known.digest if known else hashlib.sha256(network.read_bytes()).hexdigest()[:16]
    int8 = known.int8_digest if known else None
    place = fingerprint(threads=config.threads, usual_frames=config.usual_frames, int8=int8)
    return cache_folder() / "detectors" / f"{digest}-{place}.json"


# --- one candidate in its own process ------------------------------


def _measured(model: Path, config: OnnxDetectorConfig, candidate: Candidate) -> Found | str:
    """What the candidate's process printed, or why it is out."""
    forced = asdict(config) | {"runtime": candidate.runtime, "precision": candidate.precision}
    command = [sys.executable, "-m", "pipeline.adapters.detector_trial", str(model), json.dumps(forced)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return f"it took longer than {_PATIENCE_S:.0f} s"
    try:
        return Found.model_validate_json(done.stdout)
    except ValidationError:
        told = done.stderr.strip().splitlines() or ["no message"]
        return f"its process ended with {done.returncode}: {told[-1][:300]}"


def _examine(model: Path, config: OnnxDetectorConfig) -> Found:
    from pipeline.adapters.onnx_detector import OnnxDetector

    detector = OnnxDetector(model, replace(config, min_score=_LOWEST_SCORE))
    pictures = list(scenes())
    together = [pictures[number % len(pictures)] for number in range(config.usual_frames)]
    found = detector.detect(pictures)
    return Found(
        frames_per_s=len(together) / _median_s(lambda: detector.detect(together)),
        latency_s=_median_s(lambda: detector.detect(pictures[:1])),
        persons=tuple(
            tuple((*box.tolist(), score) for box, score in zip(scene.boxes, scene.scores.tolist(), strict=True))
            for scene in found
        ),
    )


def _median_s(work: Callable[[], object]) -> float:
    return statistics.median(pass_seconds(work, _TIMED_S, _LEAST_ROUNDS))


def _main(model: str, config: str) -> None:
    from pipeline.adapters.onnx_detector import OnnxDetectorConfig

    sys.stdout.write(_examine(Path(model), OnnxDetectorConfig(**json.loads(config))).model_dump_json())


if __name__ == "__main__":
    _main(*sys.argv[1:])
