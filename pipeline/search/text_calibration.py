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

FALSE_ANSWERS = 0.05  # of questions about people who are not there, so many may be answered all the same


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
    least: float  # probability below which nobody is called a match, at `FALSE_ANSWERS` as a model brings it
    # The same for other shares of false answers, which rise; none: measured by an earlier release
    leasts: tuple[tuple[float, float], ...] = ()
    words: int = 1  # of the question
    site_slope: float = 1.0  # what a site's verdicts made of the log-odds
    site_intercept: float = 0.0

    def asked(self, words: int) -> TextCalibration:
        """The same for a question with so many describing words."""
        return replace(self, words=max(words, 1))

    def answering(self, false_answers: float) -> TextCalibration:
        """The same where that share of questions about absent people may be answered.

        Between measured shares the log-odds of `least` lie on a line over those of the share. Beyond them, and where
        one share alone was measured, they rise as those of the share fall: so it is of answers that come from one
        logistic distribution.
        """
        if not 0.0 < self.least < 1.0 or false_answers == FALSE_ANSWERS:
            return self
        known = _log_odds(np.array(self.leasts or ((FALSE_ANSWERS, self.least),)))
        share = float(_log_odds(np.array(false_answers)))
        inside = float(np.clip(share, known[0, 0], known[-1, 0]))
        found = float(np.interp(inside, known[:, 0], known[:, 1])) - (share - inside)
        return replace(self, least=float(chances(np.array(found))))

    def fits(self, similarities: F64, things: F64, /) -> F64:
        """The penalty for a thing saturates: whoever surely lacks it gains nothing over who probably does. (As a linear
        term, it drew up those who are least like anybody with the thing, and cost a quarter of the mean precision.)"""
        shown = self.thing_slope * things + self.thing_intercept
        # ln(1 + exp(shown)); `np.logaddexp` says the same in three times the time, which counts for a whole crowd.
        has_thing = (np.maximum(shown, 0.0) + np.log1p(np.exp(-np.abs(shown)))).sum(axis=1)
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


def _log_odds(probabilities: F64) -> F64:
    inside = np.clip(probabilities, 1e-9, 1.0 - 1e-9)
    return np.asarray(np.log(inside / (1.0 - inside)), np.float64)


def chances(log_odds: F64) -> F64:
    """Probabilities of log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -500.0, 500.0))), np.float64)
