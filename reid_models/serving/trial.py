"""The trial of a bundle: every candidate in a process of its own, right first, then fast; kept for this machine.

float32 in torch is the reference. The probe crops come from the caller: they must look like what cameras give, and are
the same on every machine.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.contracts import F32, Embeddings
from pipeline.runtimes.machine import fingerprint, processor_precisions
from pipeline.runtimes.runtime import PRECISIONS, Device, Precision, RuntimeName
from pipeline.runtimes.trial import (
    Candidate,
    Outcome,
    Trial,
    accuracy_problem,
    as_text,
    parity_problem,
    ranked,
    trial_once,
)
from reid_models.serving.artefacts import Artefacts, artefacts_of
from reid_models.serving.measuring import Bench, MeasuringConfig, open_bench
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
class TrialConfig(MeasuringConfig):
    """What is tried and for how long; candidates: see `usual_candidates`."""

    validation: Path | None = None  # images in the Market-1501 layout: what is chosen must keep its accuracy there
    validates_all: bool = False  # else only the reference, and the fastest until one holds


def usual_candidates(device: Device, is_thorough: bool = False) -> tuple[Candidate, ...]:
    """What is worth a trial on a device; `is_thorough` adds what is rarely fast for the seconds it costs."""
    tried = _USUAL[device] + (_RARELY_FAST[device] if is_thorough else ())
    # An int8 network is computed correctly, if slowly, by any processor.
    native = processor_precisions() | {"int8"} if device == "cpu" else frozenset(PRECISIONS)
    return tuple(candidate for candidate in tried if candidate.precision in native)


def kept_trial(bundle: Path, config: TrialConfig, make_probe: Callable[[int, int], U8]) -> Trial:
    """The trial of this bundle on this machine: as it was kept, else made now. `make_probe` takes height and width."""
    files = artefacts_of(bundle)

    def make() -> Trial:
        log.info("trying %d ways to compute %s on this machine, once", len(config.candidates) + 1, bundle.name)
        return run_trial(bundle, config, make_probe)

    return trial_once(files.folder / f"trial-{_circumstances(files, config)}.json", make)


def run_trial(bundle: Path, config: TrialConfig, make_probe: Callable[[int, int], U8]) -> Trial:
    """Measure the reference and every candidate, one after the other."""
    validation = config.validation
    with open_bench(bundle, config, make_probe) as bench:
        reference, truth = _tried(bench, REFERENCE, validation)
        outcomes = [reference]
        for candidate in config.candidates:
            if candidate == REFERENCE:
                continue
            outcome, found = _tried(bench, candidate, validation if config.validates_all else None)
            outcomes.append(_compared(outcome, found, truth, reference))
        if validation is not None and not config.validates_all:
            outcomes = _validated(outcomes, bench, validation)
    log.info("tried %s", as_text(outcomes))
    return Trial(outcomes=tuple(outcomes))


def _tried(bench: Bench, candidate: Candidate, validation: Path | None) -> tuple[Outcome, Embeddings | None]:
    """The outcome so far, and the vectors of the probe crops."""
    outcome = Outcome(runtime=candidate.runtime, precision=candidate.precision)
    result = bench.measure(candidate, validation)
    if isinstance(result, str):
        return outcome.model_copy(update={"problem": result}), None
    measured, found = result
    changes = {
        "crops_per_s": bench.config.full_batch / measured.full.undisturbed_s,
        "latency_s": measured.single.undisturbed_s,
        "accuracy": measured.image_mean_average_precision,
    }
    return outcome.model_copy(update=changes), found


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


def _validated(outcomes: Sequence[Outcome], bench: Bench, validation: Path) -> list[Outcome]:
    """The best are measured on the validation set, one after the other until one keeps its accuracy."""
    checked = list(outcomes)
    reference = checked[0]
    for outcome in ranked(checked):
        if outcome.candidate == REFERENCE or reference.accuracy is None:
            break
        again, _ = _tried(bench, outcome.candidate, validation)
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
