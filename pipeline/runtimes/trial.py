"""Which of several ways to compute one network is the fastest here that is also right: candidates and the choice."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.runtimes.machine import cache_folder
from pipeline.runtimes.runtime import PRECISIONS, Precision, RuntimeName

log = logging.getLogger(__name__)

# Least cosine of every vector to that of float32 in torch.
LEAST_SIMILARITY: dict[Precision, float] = {"fp32": 0.9999, "bf16": 0.999, "fp16": 0.999, "int8": 0.99}
MOST_ACCURACY_LOST = 0.005  # of the mean average precision on a validation set
_AS_FAST = 0.97  # a candidate this near to the fastest wins if it is more exact: repeated trials differ by as much


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to compute a network."""

    runtime: RuntimeName
    precision: Precision

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision}"


class Outcome(BaseModel):
    """What a trial found out about a candidate. `problem` says why it must not serve; empty: it may."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: RuntimeName
    precision: Precision
    problem: str = ""
    crops_per_s: float | None = None  # in full batches
    latency_s: float | None = None  # of a single crop
    similarity: float | None = None  # least cosine to the reference, of all probe crops and both vectors
    accuracy: float | None = None  # mean average precision on the validation set, where one is given

    @property
    def candidate(self) -> Candidate:
        return Candidate(self.runtime, self.precision)


class Trial(BaseModel):
    """All outcomes of one trial, in the order of the candidates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcomes: tuple[Outcome, ...]

    @property
    def chosen(self) -> Outcome | None:
        """The fastest that may serve; None when nothing may."""
        return next(iter(ranked(self.outcomes)), None)


def ranked(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that may serve, the best first: the fastest, or a more exact one that is about as fast."""
    fit = [outcome for outcome in outcomes if not outcome.problem and outcome.crops_per_s]
    by_speed = sorted(fit, key=lambda outcome: outcome.crops_per_s or 0.0, reverse=True)
    if not by_speed:
        return []
    about = [one for one in by_speed if (one.crops_per_s or 0.0) >= _AS_FAST * (by_speed[0].crops_per_s or 0.0)]
    best = min(about, key=lambda outcome: PRECISIONS.index(outcome.precision))
    return [best, *(one for one in by_speed if one is not best)]


def parity_problem(precision: Precision, similarity: float) -> str:
    """Why vectors with this least cosine to the reference are refused; empty: they are not. NaN is refused."""
    least = LEAST_SIMILARITY[precision]
    if similarity >= least:
        return ""
    return f"the vector of a probe crop has cosine {similarity:.4f} to that of float32; expected {least:g} or more"


def accuracy_problem(accuracy: float, reference: float) -> str:
    """Why this mean average precision is refused beside that of float32; empty: it is not."""
    if accuracy >= reference - MOST_ACCURACY_LOST:
        return ""
    return f"mAP {accuracy:.4f} on the validation set, {reference:.4f} in float32; at most {MOST_ACCURACY_LOST} less"


def read_trial(path: Path) -> Trial | None:
    """A trial that was kept; None where there is none, or it is damaged and has to be made again."""
    try:
        return Trial.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.warning(
            "the result of an earlier trial, %s, is damaged (%s) and is measured anew", path, type(error).__name__
        )
        return None


def trial_once(path: Path, make: Callable[[], Trial]) -> Trial:
    """The trial that is kept at `path`, else made now and kept. Raises `OSError` where nothing can be kept.

    Processes that start together wait for one another: trials at the same time would measure each other. A trial whose
    first outcome, the reference, failed is not kept: nothing could be compared, and the next start may do better.
    """
    for folder in (path.parent, cache_folder()):
        folder.mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "trial.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = read_trial(path)  # perhaps of a process that came first
        if kept is not None:
            return kept
        trial = make()
        if not trial.outcomes[0].problem:
            _write_trial(path, trial)
        return trial


def _write_trial(path: Path, trial: Trial) -> None:
    """Whole or not at all."""
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    beside.write_text(trial.model_dump_json(indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


def as_text(outcomes: Sequence[Outcome]) -> str:
    """One line for a log."""
    return ", ".join(
        f"{outcome.candidate}: {outcome.problem or f'{outcome.crops_per_s:.0f}/s'}" for outcome in outcomes
    )
