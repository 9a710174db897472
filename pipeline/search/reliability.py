"""Whether probabilities mean what they say, and curves that do. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F64

BINS = 10
_STEPS = 50


@dataclass(frozen=True, slots=True)
class Bin:
    """What was said and what was true where about the same was said."""

    said: float  # mean probability
    true: float  # share that was right
    weight: float  # share of all


def reliability(probabilities: F64, is_right: F64, weights: F64) -> list[Bin]:
    """(N,) each, in bins of equal width; empty ones are left out."""
    places = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    found = []
    for place in np.unique(places):
        here = places == place
        own = weights[here]
        found.append(
            Bin(
                float(np.average(probabilities[here], weights=own)),
                float(np.average(is_right[here], weights=own)),
                float(own.sum() / weights.sum()),
            )
        )
    return found


def expected_calibration_error(probabilities: F64, is_right: F64, weights: F64) -> float:
    """Mean distance between said and true over the bins (Guo et al. 2017, section 2); 0 is perfect."""
    return sum(each.weight * abs(each.said - each.true) for each in reliability(probabilities, is_right, weights))


def fit_log_odds(inputs: F64, is_right: F64, weights: F64, start: F64, pull: F64) -> F64:
    """(K,) weights of `inputs` (N, K) whose sum gives the log-odds of `is_right` (N,) with the highest likelihood.

    `pull` (K,) is how strongly each is held at `start` (K,): as a normal prior with that precision. Newton's method.
    """
    found = start.astype(np.float64)
    for _ in range(_STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(inputs @ found, -500.0, 500.0)))
        gradient = inputs.T @ (weights * (chance - is_right)) + pull * (found - start)
        curvature = (inputs * (weights * chance * (1.0 - chance))[:, None]).T @ inputs + np.diag(pull + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        # A full step from far away can overshoot into the flat part of the curve.
        found = found - step * min(1.0, 10.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return found
