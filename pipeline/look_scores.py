"""The scale on which models and matcher speak of looks: similarities in deviations from those of ordinary strangers."""

from __future__ import annotations

import numpy as np

from pipeline.contracts import F32, F64

# What it means to look more alike than strangers is measured, model by model, for groups of so many tracklets and at
# these scores.
LOOK_SIZES = (1, 2, 4)
LOOK_SCORES = tuple(score / 2 for score in range(-6, 25))
ORDINARY = 3.0  # the score above which strangers are no ordinary ones
_ROUNDS = 4


def ordinary_strangers(similarities: F32 | F64) -> tuple[float, float]:
    """Mean and deviation of the similarities (N,) of ordinary strangers, N > 0.

    What lies above `ORDINARY` is left out. On a site many such pairs are one person held under two numbers; counted as
    strangers they would make the matcher open still more numbers.
    """
    centre = float(np.median(similarities))
    below = similarities[similarities <= centre] - centre
    spread = float(np.sqrt((below**2).mean()))
    for _ in range(_ROUNDS):
        ordinary = similarities[similarities <= centre + ORDINARY * spread]
        centre, spread = float(ordinary.mean()), float(ordinary.std())
    return centre, spread
