"""The trial of a bundle: every candidate in a process of its own, right first, then fast; kept for this machine.

float32 in torch is the reference. The probe crops come from the caller: they must look like what cameras give, and are
the same on every machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.contracts import F32, Embeddings
from pipeline.runtimes.machine import MALLOC, fingerprint, processor_precisions
from pipeline.runtimes.networks import is_installed
from pipeline.runtimes.runtime import PRECISIONS, Device, Precision, RuntimeName
from pipeline.runtimes.trial import (
    Candidate,
    Outcome,
    Trial,
    accuracy_problem,
    as_text,
    parity_problem,
    ranked,
    read_trial,
    write_trial,
)
from reid_models.serving.artefacts import Artefacts, artefacts_of
from reid_models.serving.measuring import Measured, Task
from reid_models.serving.pixels import U8

log = logging.getLogger(__name__)

REFERENCE = Candidate("torch", "fp32")


def _each(runtime: RuntimeName, *precisions: Precision) -> tuple[Candidate, ...]:
    return tuple(Candidate(runtime, precision) for precision in precisions)


_USUAL: dict[Device, tuple[Candidate, ...]] = {
    "cpu": (
        *_each("torch", "bf16"),
        *_each("onnxruntime", "fp32", "int8"),
        *_each("openvino", "fp32", "bf16", "fp16", "int8"),
    ),
    "cuda": (
        *_each("torch", "bf16", "fp16"),
        *_each("cuda-graphs", "fp32", "bf16", "fp16"),
        *_each("onnxruntime", "fp32"),
    ),
}
_RARELY_FAST: dict[Device, tuple[Candidate, ...]] = {
    "cpu": _each("torch-compiled", "fp32", "bf16"),
    "cuda": _each("torch-compiled", "bf16", "fp16"),
}


@dataclass(frozen=True, slots=True)
class TrialConfig:
    """What is tried and for how long."""

    device: Device = "cpu"
    threads: int = 1
    full_batch: int = 32
    candidates: tuple[Candidate, ...] = ()  # beside the reference; see `usual_candidates`
    duration_s: float = 0.7  # of measuring a speed
    limit_s: float = 180.0  # for one candidate, its start included
    validation: Path | None = None  # images in the Market-1501 layout: what is chosen must keep its accuracy there
    validates_all: bool = False  # else only the reference, and the fastest until one holds


def usual_candidates(device: Device, is_thorough: bool = False) -> tuple[Candidate, ...]:
    """What is worth a trial on a device; `is_thorough` adds what is rarely fast for the seconds it costs."""
    tried = _USUAL[device] + (_RARELY_FAST[device] if is_thorough else ())
    # An int8 network is computed correctly, if slowly, by any processor.
    native = processor_precisions() | {"int8"} if device == "cpu" else frozenset(PRECISIONS)
    return tuple(candidate for candidate in tried if candidate.precision in native)


def kept_trial(bundle: Path, config: TrialConfig, make_probe: Callable[[int, int], U8]) -> Trial:
    """The trial of this bundle on this machine: as it was kept, else made now. `make_probe` takes height and width.

    Processes that start together wait for one another: trials at the same time would measure each other.
    """
    files = artefacts_of(bundle)
    path = files.folder / f"trial-{_circumstances(files, config)}.json"
    with _alone(files.folder):
        kept = read_trial(path)
        if kept is not None:
            return kept
        log.info("trying %d ways to compute %s on this machine, once", len(config.candidates) + 1, bundle.name)
        trial = run_trial(bundle, config, make_probe)
        if trial.outcomes[0].problem == "":  # else nothing could be compared, and the next start may do better
            write_trial(path, trial)
        return trial


def run_trial(bundle: Path, config: TrialConfig, make_probe: Callable[[int, int], U8]) -> Trial:
    """Measure the reference and every candidate, one after the other."""
    from reid_models.manifest import read_manifest

    size = read_manifest(bundle).input
    with tempfile.TemporaryDirectory(prefix="sightline-trial-") as folder:
        bench = _Bench(bundle, config, Path(folder))
        np.save(bench.probe, make_probe(size.height_px, size.width_px))
        reference, truth = bench.measure(REFERENCE, with_accuracy=config.validation is not None)
        outcomes = [reference]
        for candidate in config.candidates:
            if candidate == REFERENCE:
                continue
            outcome, found = bench.measure(candidate, with_accuracy=config.validates_all)
            outcomes.append(_compared(outcome, found, truth, reference))
        outcomes = _validated(outcomes, bench) if config.validation and not config.validates_all else outcomes
    log.info("tried %s", as_text(outcomes))
    return Trial(outcomes=tuple(outcomes))


@dataclass(frozen=True, slots=True)
class _Bench:
    """Where children measure, and what they are told."""

    bundle: Path
    config: TrialConfig
    folder: Path

    @property
    def probe(self) -> Path:
        return self.folder / "probe.npy"

    def measure(self, candidate: Candidate, with_accuracy: bool = False) -> tuple[Outcome, Embeddings | None]:
        """What a child process says of a candidate, and its vectors of the probe crops; never raises."""
        outcome = Outcome(runtime=candidate.runtime, precision=candidate.precision)
        if not is_installed(candidate.runtime):
            return outcome.model_copy(update={"problem": "is not installed"}), None
        config, folder = self.config, self.folder
        task = Task(
            bundle=self.bundle, runtime=candidate.runtime, precision=candidate.precision, device=config.device,
            threads=config.threads, full_batch=config.full_batch, probe=self.probe, vectors=folder / "vectors.npz",
            measured=folder / "measured.json", duration_s=config.duration_s, limit_s=config.limit_s,
            validation=config.validation if with_accuracy else None,
        )  # fmt: skip
        problem = _run(task, folder / "task.json")
        if problem:
            return outcome.model_copy(update={"problem": problem}), None
        measured = Measured.model_validate_json(task.measured.read_bytes())
        with np.load(task.vectors) as vectors:
            found = Embeddings(vectors["appearance"], vectors["language"])
        return outcome.model_copy(update=measured.model_dump()), found


def _run(task: Task, path: Path) -> str:
    """Start a child for the task and wait; why it failed, or nothing."""
    path.write_text(task.model_dump_json(), encoding="utf-8")
    threads = {"OMP_NUM_THREADS": str(task.threads)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "reid_models.serving.measuring", str(path)],
            env={**os.environ, **MALLOC, **threads}, capture_output=True, text=True, check=False, timeout=task.limit_s,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"took longer than {task.limit_s:g} s"
    if done.returncode == 0:
        return ""
    reason = (done.stderr.strip().splitlines() or [""])[-1]
    return reason.rpartition("errors.ConfigurationError: ")[2][:300] or f"ended with exit code {done.returncode}"


def _compared(outcome: Outcome, found: Embeddings | None, truth: Embeddings | None, reference: Outcome) -> Outcome:
    """The outcome with its parity, and with a problem where that or the accuracy does not hold."""
    if found is None:
        return outcome
    if truth is None:
        return outcome.model_copy(update={"problem": f"nothing to compare with: {REFERENCE} {reference.problem}"})
    similarity = least_similarity(found, truth)
    problem = parity_problem(outcome.precision, similarity)
    if not problem and outcome.accuracy is not None and reference.accuracy is not None:
        problem = accuracy_problem(outcome.accuracy, reference.accuracy)
    return outcome.model_copy(update={"similarity": similarity, "problem": problem})


def _validated(outcomes: Sequence[Outcome], bench: _Bench) -> list[Outcome]:
    """The best are measured on the validation set, one after the other until one keeps its accuracy."""
    checked = list(outcomes)
    reference = checked[0]
    for outcome in ranked(checked):
        if outcome.candidate == REFERENCE or reference.accuracy is None:
            break
        again, _ = bench.measure(outcome.candidate, with_accuracy=True)
        problem = again.problem or accuracy_problem(again.accuracy or 0.0, reference.accuracy)
        changes = {"accuracy": again.accuracy, "problem": problem}
        checked[checked.index(outcome)] = outcome.model_copy(update=changes)
        if not problem:
            break
    return checked


def least_similarity(found: Embeddings, truth: Embeddings) -> float:
    """The least cosine of all crops and both vectors; NaN where a vector is none."""

    def least(first: F32, second: F32) -> float:
        products = (first * second).sum(axis=1)
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return float((products / lengths).min())

    return float(np.min([least(found.appearance, truth.appearance), least(found.language, truth.language)]))


def _circumstances(files: Artefacts, config: TrialConfig) -> str:
    """What must be as it was for a trial to hold."""
    ranges = files.ranges()
    return fingerprint(
        device=config.device,
        threads=config.threads,
        full_batch=config.full_batch,
        candidates=[str(candidate) for candidate in config.candidates],
        validation=str(config.validation),
        ranges=hashlib.sha256(ranges.model_dump_json().encode()).hexdigest() if ranges else "",
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "trial.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
