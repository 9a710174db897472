"""What a model's similarities tell before a site has taught better."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from pipeline.contracts import F64, I64
from pipeline.look_scores import LOOK_SCORES, LOOK_SIZES

_PAIRS = np.log2(np.array(LOOK_SIZES, np.float64) ** 2)  # of tracklets in two groups of one size, each twice the last
_STEP = LOOK_SCORES[1] - LOOK_SCORES[0]


def straight_curves(slope: float, midpoint: float) -> F64:
    """Curves of a model of which only two single tracklets are known: even odds at `midpoint`, rising by `slope`.

    Larger groups tell more, as with the encoders whose curves were measured on Market-1501.
    """
    growth = 1.2 ** _PAIRS[:, None]
    return slope * growth * (np.asarray(LOOK_SCORES) - midpoint * (1.0 + 0.4 * np.log(growth)))


@dataclass(frozen=True, eq=False)
class LookPrior:
    """Strangers have similarities with a `mean` and a `deviation`; a score counts in such deviations from that mean.

    `curves` (len(LOOK_SIZES), len(LOOK_SCORES)) are the log-odds that two groups of so many tracklets, whose pairs have
    a mean score, show one person; one person and two weigh the same beforehand.
    """

    mean: float = 0.1
    deviation: float = 0.1
    curves: F64 = field(default_factory=lambda: straight_curves(slope=2.0, midpoint=2.0))

    def __post_init__(self) -> None:
        if not -1.0 <= self.mean <= 1.0 or self.deviation <= 0.0:
            raise ValueError(
                f"strangers of mean {self.mean} and deviation {self.deviation}; expected a cosine in [-1, 1] and a "
                "deviation above 0"
            )
        if self.curves.shape != (len(LOOK_SIZES), len(LOOK_SCORES)) or not (np.diff(self.curves) >= 0).all():
            raise ValueError(
                f"curves of shape {self.curves.shape}; expected {len(LOOK_SIZES)} of {len(LOOK_SCORES)} log-odds that "
                "never fall"
            )

    @classmethod
    def of_curve(cls, midpoint: float, slope: float) -> LookPrior:
        """Where only the logistic curve of two single tracklets over their plain similarity is known."""
        deviation = 2.0 / slope
        return cls(max(midpoint - 2.0 * deviation, -1.0), deviation)


def look_odds(curves: F64, scores: F64, pairs: F64) -> F64:
    """(N,) log-odds of one person, from scores (N,) that are means over so many pairs (N,)."""
    size, larger = _on_scale(0.5 * np.log2(pairs), len(LOOK_SIZES))
    score, higher = _on_scale((scores - LOOK_SCORES[0]) / _STEP, len(LOOK_SCORES))
    at, levels, rises = size * len(LOOK_SCORES) + score, curves.ravel(), np.diff(curves, append=0.0).ravel()
    odds: F64 = (1.0 - larger) * (levels[at] + higher * rises[at])
    at += len(LOOK_SCORES)
    odds += larger * (levels[at] + higher * rises[at])
    return odds


def even_score(curves: F64) -> float:
    """Below this score the log-odds of one person are below 0, whatever the number of pairs; -inf: nowhere."""
    found = math.inf
    for curve in curves:
        above = int(np.searchsorted(curve, 0.0))
        if above == 0:
            return -math.inf
        if above < len(curve):
            found = min(found, float(np.interp(0.0, curve[above - 1 : above + 1], LOOK_SCORES[above - 1 : above + 1])))
    return found


def _on_scale(values: F64, steps: int) -> tuple[I64, F64]:
    """The last of so many steps, from 0, that is at or below each value, and how far it is to the next; whoever is
    beyond either end counts as there."""
    inside = values.clip(0.0, steps - 1.0)
    below = np.minimum(inside.astype(np.int64), steps - 2)
    return below, inside - below
