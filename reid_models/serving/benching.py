"""What every way to compute a bundle costs and is worth here: speed, latency, likeness to float32, accuracy on data.

As in `trial.py` each candidate has a process of its own; a trial chooses and is quick, a bench tells everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipeline.contracts import Embeddings
from pipeline.runtimes.runtime import Precision, RuntimeName
from pipeline.runtimes.trial import Candidate, parity_problem
from reid_models.serving.measuring import MeasuringConfig, Passes, open_bench
from reid_models.serving.pixels import U8
from reid_models.serving.trial import REFERENCE, least_similarity


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


@dataclass(frozen=True, slots=True)
class BenchConfig(MeasuringConfig):
    """What is measured and for how long."""

    duration_s: float = 3.0
    limit_s: float = 1800.0
    data: Path | None = None  # images in the Market-1501 layout
    captions: Path | None = None


def run_bench(bundle: Path, config: BenchConfig, make_probe: Callable[[int, int], U8]) -> Iterator[Figures]:
    """The figures of the reference and of every candidate, as they come. `make_probe` takes height and width."""
    with open_bench(bundle, config, make_probe) as bench:
        truth: Embeddings | None = None
        for candidate in (REFERENCE, *(one for one in config.candidates if one != REFERENCE)):
            figures = Figures(runtime=candidate.runtime, precision=candidate.precision)
            result = bench.measure(candidate, config.data, config.captions)
            if isinstance(result, str):
                yield figures.model_copy(update={"problem": result})
                continue
            measured, found = result
            changes = dict(measured) | {"crops_per_s": config.full_batch / measured.full.median_s}
            if candidate == REFERENCE:
                truth = found
            elif truth is not None:
                similarity = least_similarity(found, truth)
                changes |= {"similarity": similarity, "problem": parity_problem(candidate.precision, similarity)}
            yield figures.model_copy(update=changes)
