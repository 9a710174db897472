"""What every way to compute a bundle costs and is worth here: speed, latency, likeness to float32, accuracy on data.

As in `trial.py` each candidate has a process of its own, `python -m reid_models.serving.benching TASK.json`; a trial
chooses and is quick, a bench tells everything.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipeline.contracts import Embeddings
from pipeline.runtimes.machine import MALLOC
from pipeline.runtimes.networks import is_installed
from pipeline.runtimes.runtime import Device, Precision, RuntimeName, RuntimeOptions
from pipeline.runtimes.trial import Candidate, parity_problem
from reid_models.serving.pixels import U8
from reid_models.serving.trial import REFERENCE, least_similarity

_LEAST_PASSES = 5
_CAPTION_SPLIT = "val"


class Passes(BaseModel):
    """Seconds of one call with crops of the input size, resizing included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    median_s: float
    p95_s: float


class Figures(BaseModel):
    """What one candidate is worth. Shares are from 0 to 1; None: not measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: RuntimeName
    precision: Precision
    problem: str = ""  # why it must not serve, or could not be measured
    crops_per_s: float | None = None  # in full batches
    single: Passes | None = None  # one crop
    full: Passes | None = None  # a full batch
    similarity: float | None = None  # least cosine to the reference, of all probe crops and both vectors
    image_mean_average_precision: float | None = None
    image_rank_1: float | None = None
    caption_person_rank_1: float | None = None  # the right person first among all of the data

    @property
    def candidate(self) -> Candidate:
        return Candidate(self.runtime, self.precision)


class Task(BaseModel):
    """What a child process is to measure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Path
    runtime: RuntimeName
    precision: Precision
    device: Device
    threads: int
    full_batch: int
    duration_s: float
    data: Path | None  # images in the Market-1501 layout
    captions: Path | None
    probe: Path  # NumPy file of crops (N, H, W, 3) uint8 in the input size of the bundle
    vectors: Path  # to be written
    figures: Path  # to be written


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """What is measured and for how long."""

    device: Device = "cpu"
    threads: int = 1
    full_batch: int = 32
    candidates: tuple[Candidate, ...] = ()  # beside the reference
    duration_s: float = 3.0  # of each of the two speeds
    limit_s: float = 1800.0  # for one candidate
    data: Path | None = None
    captions: Path | None = None


def run_bench(bundle: Path, config: BenchConfig, make_probe: Callable[[int, int], U8]) -> Iterator[Figures]:
    """The figures of the reference and of every candidate, as they come. `make_probe` takes height and width."""
    from reid_models.manifest import read_manifest

    size = read_manifest(bundle).input
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as folder:
        probe = Path(folder) / "probe.npy"
        np.save(probe, make_probe(size.height_px, size.width_px))
        truth: Embeddings | None = None
        for candidate in (REFERENCE, *(one for one in config.candidates if one != REFERENCE)):
            figures, found = _measured(bundle, config, candidate, probe)
            if candidate == REFERENCE:
                truth = found
            elif found is not None and truth is not None:
                similarity = least_similarity(found, truth)
                problem = parity_problem(candidate.precision, similarity)
                figures = figures.model_copy(update={"similarity": similarity, "problem": problem})
            yield figures


def _measured(
    bundle: Path, config: BenchConfig, candidate: Candidate, probe: Path
) -> tuple[Figures, Embeddings | None]:
    """What a child process says of a candidate, and its vectors of the probe crops."""
    empty = Figures(runtime=candidate.runtime, precision=candidate.precision)
    if not is_installed(candidate.runtime):
        return empty.model_copy(update={"problem": "is not installed"}), None
    folder = probe.parent
    task = Task(
        bundle=bundle, runtime=candidate.runtime, precision=candidate.precision, device=config.device,
        threads=config.threads, full_batch=config.full_batch, duration_s=config.duration_s, data=config.data,
        captions=config.captions, probe=probe, vectors=folder / "vectors.npz", figures=folder / "figures.json",
    )  # fmt: skip
    problem = _run(task, folder / "task.json", config.limit_s)
    if problem:
        return empty.model_copy(update={"problem": problem}), None
    with np.load(task.vectors) as vectors:
        found = Embeddings(vectors["appearance"], vectors["language"])
    return Figures.model_validate_json(task.figures.read_bytes()), found


def _run(task: Task, path: Path, limit_s: float) -> str:
    """Start a child for the task and wait; why it failed, or nothing."""
    path.write_text(task.model_dump_json(), encoding="utf-8")
    environment = {**os.environ, **MALLOC, "OMP_NUM_THREADS": str(task.threads)}
    command = [sys.executable, "-m", "reid_models.serving.benching", str(path)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=limit_s
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"took longer than {limit_s:g} s"
    if done.returncode == 0:
        return ""
    reason = (done.stderr.strip().splitlines() or [""])[-1]
    return reason.rpartition("errors.ConfigurationError: ")[2][:300] or f"ended with exit code {done.returncode}"


# --- one candidate in its own process ------------------------------


def main(task: Task) -> None:
    """Measure and write. Any failure ends the process; its last line of output is the reason."""
    from reid_models.serving.opening import open_served

    options = RuntimeOptions(task.precision, task.device, task.threads, task.full_batch)
    encoder = open_served(task.bundle, Candidate(task.runtime, task.precision), options)
    probe: U8 = np.load(task.probe)
    found = encoder.embed_images(list(probe))
    np.savez(task.vectors, appearance=found.appearance, language=found.language)
    full = list(np.resize(probe, (task.full_batch, *probe.shape[1:])))
    of_full = _passes(lambda: encoder.embed_images(full), task.duration_s)
    accuracy: dict[str, float] = {}
    if task.data is not None:
        from reid_models.benchmarks import embed_set, image_report, text_report
        from reid_models.datasets.captions import read_captions

        embedded = embed_set(encoder, task.data)
        report = image_report(embedded)
        accuracy = {"image_mean_average_precision": report.mean_average_precision, "image_rank_1": report.rank_1}
        if task.captions is not None:
            shown = {*embedded.query_identities.tolist(), *embedded.gallery_identities.tolist()}
            told = [caption for caption in read_captions(task.captions, _CAPTION_SPLIT) if caption.identity in shown]
            accuracy["caption_person_rank_1"] = text_report(encoder, embedded, told).person_rank_1
    figures = Figures(
        runtime=task.runtime,
        precision=task.precision,
        crops_per_s=task.full_batch / of_full.median_s,
        single=_passes(lambda: encoder.embed_images(full[:1]), task.duration_s),
        full=of_full,
        **accuracy,
    )
    task.figures.write_text(figures.model_dump_json(), encoding="utf-8")


def _passes(work: Callable[[], object], duration_s: float) -> Passes:
    work()  # the first pass allocates
    taken: list[float] = []
    ends_s = time.perf_counter() + duration_s
    while len(taken) < _LEAST_PASSES or time.perf_counter() < ends_s:
        started_s = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started_s)
    return quantiles(taken)


def quantiles(taken_s: Sequence[float]) -> Passes:
    """Median and 95th percentile."""
    median_s, p95_s = np.quantile(np.asarray(taken_s), (0.5, 0.95)).tolist()
    return Passes(median_s=median_s, p95_s=p95_s)


if __name__ == "__main__":
    main(Task.model_validate_json(Path(sys.argv[1]).read_bytes()))
