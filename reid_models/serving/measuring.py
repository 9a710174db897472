"""One candidate measured, in the process made for it: `python -m reid_models.serving.measuring TASK.json`.

The vectors of the probe crops and what was measured go to the files that the task names.
"""

from __future__ import annotations

import signal
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipeline.runtimes.runtime import Device, Precision, RuntimeName, RuntimeOptions
from pipeline.runtimes.trial import Candidate
from reid_models.serving.encoder import ServedEncoder
from reid_models.serving.opening import open_served
from reid_models.serving.pixels import U8

_LEAST_PASSES = 3


class Task(BaseModel):
    """What a child process is to measure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Path
    runtime: RuntimeName
    precision: Precision
    device: Device
    threads: int
    full_batch: int
    probe: Path  # NumPy file of crops (N, H, W, 3) uint8 in the input size of the bundle
    vectors: Path  # to be written: appearance (N, A) and language (N, L) of the probe
    measured: Path  # to be written: `Measured` as JSON
    duration_s: float  # of each of the two speeds
    limit_s: float
    validation: Path | None  # images in the Market-1501 layout


class Measured(BaseModel):
    """What a child process found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crops_per_s: float
    latency_s: float
    accuracy: float | None


def main(task: Task) -> None:
    """Measure and write. Any failure ends the process; its last line of output is the reason."""
    signal.alarm(int(task.limit_s) + 1)  # ends this process even if its parent has been killed
    options = RuntimeOptions(task.precision, task.device, task.threads, task.full_batch)
    encoder = open_served(task.bundle, Candidate(task.runtime, task.precision), options)
    probe: U8 = np.load(task.probe)
    found = encoder.embed_images(list(probe))
    np.savez(task.vectors, appearance=found.appearance, language=found.language)
    measured = Measured(
        crops_per_s=task.full_batch / _pass_s(encoder, _full(probe, task.full_batch), task.duration_s),
        latency_s=_pass_s(encoder, probe[:1], task.duration_s),
        accuracy=None if task.validation is None else _accuracy(encoder, task.validation),
    )
    task.measured.write_text(measured.model_dump_json(), encoding="utf-8")


def _full(probe: U8, full: int) -> U8:
    """The probe crops, over and over, until they make a full batch."""
    return np.resize(probe, (full, *probe.shape[1:]))


def _pass_s(encoder: ServedEncoder, block: U8, duration_s: float) -> float:
    """Seconds of one pass: the median of the faster half, which neighbours on the machine have not disturbed."""
    crops = list(block)
    encoder.embed_images(crops)  # the first pass allocates
    taken: list[float] = []
    ends_s = time.perf_counter() + duration_s
    while len(taken) < _LEAST_PASSES or time.perf_counter() < ends_s:
        started_s = time.perf_counter()
        encoder.embed_images(crops)
        taken.append(time.perf_counter() - started_s)
    return statistics.median(sorted(taken)[: len(taken) // 2 + 1])


def _accuracy(encoder: ServedEncoder, images: Path) -> float:
    from reid_models.benchmarks import evaluate_images

    return evaluate_images(encoder, images).mean_average_precision


if __name__ == "__main__":
    main(Task.model_validate_json(Path(sys.argv[1]).read_bytes()))
