"""What people say about answers moves the confidence of their site. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from pipeline.contracts import GlobalId
from pipeline.search.reliability import fit_log_odds
from pipeline.search.text_calibration import TextCalibration

MAX_VERDICTS = 2000  # the newest: a site changes
# How strongly slope and intercept are held where the model was measured: as by forty verdicts at log-odds of 2 on
# answers of which half are right, so that the first few cannot turn a curve.
_PULL = np.array([40.0, 10.0])


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether somebody fits a question, as a person said. `log_odds` are the model's, before any verdict."""

    question: str
    global_id: GlobalId
    log_odds: float
    is_right: bool
    made_by: str
    made_at: float


class VerdictSource(Protocol):
    """Where verdicts are kept: the database; `SqlStore` in memory for tests."""

    def keep_verdict(self, model_digest: str, verdict: Verdict) -> None: ...

    def verdicts(self, model_digest: str, limit: int) -> list[Verdict]: ...

    def verdict_change(self) -> int: ...

    def verdicts_on(self, model_digest: str, question: str) -> dict[GlobalId, bool]: ...


def taught(curve: TextCalibration, verdicts: Sequence[Verdict]) -> TextCalibration:
    """The curve with what `verdicts` make of its log-odds: a slope and an intercept (Platt 1999), held at 1 and 0."""
    start = np.array([1.0, 0.0])
    if not verdicts:
        return replace(curve, site_slope=1.0, site_intercept=0.0)
    inputs = np.array([(verdict.log_odds, 1.0) for verdict in verdicts])
    is_right = np.array([float(verdict.is_right) for verdict in verdicts])
    slope, intercept = fit_log_odds(inputs, is_right, np.ones(len(verdicts)), start, _PULL).tolist()
    # Nobody's word turns more similar into less probable.
    return replace(curve, site_slope=max(slope, 0.05), site_intercept=intercept)
