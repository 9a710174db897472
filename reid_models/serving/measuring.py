"""Candidates measured, each in a process of its own: `python -m reid_models.serving.measuring TASK.json`.

The vectors of the probe crops and what was measured go to the files that the task names.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipeline.contracts import Embeddings
from pipeline.runtimes.machine import MALLOC
from pipeline.runtimes.networks import is_installed
from pipeline.runtimes.runtime import Device, Precision, RuntimeName, RuntimeOptions
from pipeline.runtimes.timing import pass_seconds
from pipeline.runtimes.trial import Candidate
from reid_models.manifest import read_manifest
from reid_models.serving.encoder import ServedEncoder
from reid_models.serving.opening import open_served
from reid_models.serving.pixels import U8

_LEAST_PASSES = 3
_CAPTION_SPLIT = "val"


@dataclass(frozen=True, slots=True)
class MeasuringConfig:
    """What is measured and for how long."""

    device: Device = "cpu"
    threads: int = 1
    full_batch: int = 32
    candidates: tuple[Candidate, ...] = ()  # beside the reference
    duration_s: float = 0.7  # of each of the two speeds
    limit_s: float = 180.0  # for one candidate, its start included


class Passes(BaseModel):
    """Seconds of one call with crops of the input size, resizing included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    median_s: float
    p95_s: float
    undisturbed_s: float  # median of the faster half, which neighbours on the machine have not disturbed


class Measured(BaseModel):
    """What a child process found. Shares are from 0 to 1; None: not measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    single: Passes  # one crop
    full: Passes  # a full batch
    image_mean_average_precision: float | None = None
    image_rank_1: float | None = None
    caption_person_rank_1: float | None = None  # the right person first among all of the data


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
    data: Path | None  # images in the Market-1501 layout: accuracy too
    captions: Path | None  # sentences about their people


@dataclass(frozen=True, slots=True)
class Bench:
    """Where children measure the candidates of one bundle, and what they are told."""

    bundle: Path
    config: MeasuringConfig
    folder: Path

    @property
    def probe(self) -> Path:
        return self.folder / "probe.npy"

    def measure(
        self, candidate: Candidate, data: Path | None = None, captions: Path | None = None
    ) -> tuple[Measured, Embeddings] | str:
        """What a child process found, and its vectors of the probe crops; or why it failed."""
        if not is_installed(candidate.runtime):
            return "is not installed"
        config, folder = self.config, self.folder
        task = Task(
            bundle=self.bundle, runtime=candidate.runtime, precision=candidate.precision, device=config.device,
            threads=config.threads, full_batch=config.full_batch, probe=self.probe, vectors=folder / "vectors.npz",
            measured=folder / "measured.json", duration_s=config.duration_s, limit_s=config.limit_s, data=data,
            captions=captions,
        )  # fmt: skip
        problem = _run(task, folder / "task.json")
        if problem:
            return problem
        with np.load(task.vectors) as vectors:
            found = Embeddings(vectors["appearance"], vectors["language"])
        return Measured.model_validate_json(task.measured.read_bytes()), found


@contextmanager
def open_bench(bundle: Path, config: MeasuringConfig, make_probe: Callable[[int, int], U8]) -> Iterator[Bench]:
    """A bench while the block lasts; `make_probe` takes height and width."""
    size = read_manifest(bundle).input
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as folder:
        bench = Bench(bundle, config, Path(folder))
        np.save(bench.probe, make_probe(size.height_px, size.width_px))
        yield bench


def passes_of(taken_s: Sequence[float]) -> Passes:
    """What the seconds of one or more passes say."""
    median_s, p95_s = np.quantile(np.asarray(taken_s), (0.5, 0.95)).tolist()
    undisturbed_s = statistics.median(sorted(taken_s)[: len(taken_s) // 2 + 1])
    return Passes(median_s=median_s, p95_s=p95_s, undisturbed_s=undisturbed_s)


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


# --- one candidate in its own process ------------------------------


def main(task: Task) -> None:
    """Measure and write. Any failure ends the process; its last line of output is the reason."""
    signal.alarm(int(task.limit_s) + 1)  # ends this process even if its parent has been killed
    options = RuntimeOptions(task.precision, task.device, task.threads, task.full_batch)
    encoder = open_served(task.bundle, Candidate(task.runtime, task.precision), options)
    probe: U8 = np.load(task.probe)
    found = encoder.embed_images(list(probe))
    np.savez(task.vectors, appearance=found.appearance, language=found.language)
    # The probe crops, over and over, until they make a full batch.
    full = list(np.resize(probe, (task.full_batch, *probe.shape[1:])))
    measured = Measured(
        single=passes_of(pass_seconds(lambda: encoder.embed_images(full[:1]), task.duration_s, _LEAST_PASSES)),
        full=passes_of(pass_seconds(lambda: encoder.embed_images(full), task.duration_s, _LEAST_PASSES)),
        **({} if task.data is None else _accuracy(encoder, task.data, task.captions)),
    )
    task.measured.write_text(measured.model_dump_json(), encoding="utf-8")


def _accuracy(encoder: ServedEncoder, data: Path, captions: Path | None) -> dict[str, float]:
    from reid_models.benchmarks import embed_set, image_report, text_report
    from reid_models.datasets.captions import read_captions

    embedded = embed_set(encoder, data)
    report = image_report(embedded)
    found = {"image_mean_average_precision": report.mean_average_precision, "image_rank_1": report.rank_1}
    if captions is not None:
        shown = {*embedded.query_identities.tolist(), *embedded.gallery_identities.tolist()}
        told = [caption for caption in read_captions(captions, _CAPTION_SPLIT) if caption.identity in shown]
        found["caption_person_rank_1"] = text_report(encoder, embedded, told).person_rank_1
    return found


if __name__ == "__main__":
    main(Task.model_validate_json(Path(sys.argv[1]).read_bytes()))
