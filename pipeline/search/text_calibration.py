"""What the similarity of words and people means: the probability that somebody fits a description. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pipeline.contracts import F64
from pipeline.search.query import Bools

# How much "she has the thing" weighs against a description, in log-odds of `TextCalibration.slope`. Of 1, 1.5 and 2 the
# first left most people with the thing among the first five, and the mean precision of all three was the same.
_ABSENT_WEIGHT = 2.0


@dataclass(frozen=True, slots=True)
class TextCalibration:
    """Log-odds that somebody fits a description, measured on people that the model never saw.

    They are `slope` * similarity + `intercept` + `per_word` * ln(its words), less what speaks for a thing that must not
    be there. People do not compete: "white shirt" fits many. `thing_slope` and `thing_intercept` give the
    log-odds that somebody shows a thing, from what the thing adds to anybody.
    """

    slope: float
    intercept: float
    per_word: float
    thing_slope: float
    thing_intercept: float
    least: float  # probability below which nobody is called a match
    words: int = 1  # of the question
    site_slope: float = 1.0  # what a site's verdicts made of the log-odds
    site_intercept: float = 0.0

    def asked(self, words: int) -> TextCalibration:
        """The same for a question with so many describing words."""
        return replace(self, words=max(words, 1))

    def fits(self, similarities: F64, things: F64, /) -> F64:
        """The penalty for a thing saturates: whoever surely lacks it gains nothing over who probably does. (As a linear
        term, it drew up those who are least like anybody with the thing, and cost a quarter of the mean precision.)"""
        has_thing = np.logaddexp(0.0, self.thing_slope * things + self.thing_intercept).sum(axis=1)
        return np.asarray(similarities - _ABSENT_WEIGHT / self.thing_slope * has_thing, np.float64)

    def log_odds(self, fits: F64) -> F64:
        """As the model was measured, before what the site taught."""
        return np.asarray(self.slope * fits + self.intercept + self.per_word * math.log(self.words), np.float64)

    def judged(self, fits: F64) -> tuple[F64, Bools]:
        probabilities = chances(self.site_slope * self.log_odds(fits) + self.site_intercept)
        return probabilities, probabilities >= self.least

    @property
    def steepness(self) -> float:
        """What one more of a fit adds to the log-odds of this site; 0 for a model that was not calibrated."""
        return self.site_slope * self.slope

    def least_fit(self, log_odds: float) -> float:
        """The fit from which the log-odds of this site are as large: the inverse of what `judged` goes by."""
        if self.steepness <= 0.0:
            return math.inf
        measured = (log_odds - self.site_intercept) / self.site_slope
        return (measured - self.intercept - self.per_word * math.log(self.words)) / self.slope


def chances(log_odds: F64) -> F64:
    """Probabilities of log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -500.0, 500.0))), np.float64)
