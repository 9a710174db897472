"""Results of repeated runs: written after each one, shown as a table with mean and spread."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class RunResult:
    """One training run. `scores` are what is compared, `figures` what helps to understand them."""

    variant: str
    seed: int
    scores: Mapping[str, float]
    figures: Mapping[str, float]
    minutes: float


class Results:
    """All runs of one experiment, in one JSON file; a run that is there is not repeated."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.runs: list[RunResult] = []
        if path.exists():
            self.runs = [RunResult(**run) for run in json.loads(path.read_text(encoding="utf-8"))]

    def has(self, variant: str, seed: int) -> bool:
        return any(run.variant == variant and run.seed == seed for run in self.runs)

    def add(self, run: RunResult) -> None:
        self.runs.append(run)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps([asdict(run) for run in self.runs], indent=1), encoding="utf-8")
        unfinished.replace(self._path)

    def table(self, scores: Sequence[str], percent: bool = True) -> str:
        """Markdown: one row for each variant in order of appearance, mean ± standard deviation over seeds."""
        lines = ["| variant | seeds | " + " | ".join(scores) + " |", "|---|---|" + "---|" * len(scores)]
        factor = 100.0 if percent else 1.0
        for variant in dict.fromkeys(run.variant for run in self.runs):
            runs = [run for run in self.runs if run.variant == variant]
            cells = []
            for score in scores:
                cells.append(spread([factor * run.scores[score] for run in runs]))
            lines.append(f"| {variant} | {len(runs)} | " + " | ".join(cells) + " |")
        return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation, the latter for two or more."""
    if not values:
        return "—"
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


def chosen(asked: Sequence[str] | None, known: Sequence[str]) -> Sequence[str]:
    """The variants asked for, or all. Raises `ConfigurationError` for one that there is not."""
    unknown = sorted(set(asked or ()) - set(known))
    if unknown:
        raise ConfigurationError(f"there is no variant {unknown[0]!r}; the known ones: {'; '.join(known)}")
    return asked or known
