"""How much more looks tell at a site than they told where its model was validated: the times say so.

Whoever comes back comes after a time that it takes, and a stranger at any time. So among pairs of an arrival and
somebody known, the share of those who are one person can be read from their times alone, for pairs that look so much
alike and for others: a mixture of two known distributions. Where looks that make one person rather probable are nearly
always right by their times, the site's people are easier to tell apart than others, and its looks count for more.

They never count for less: what a site's strangers have taught (see `calibration`) and the budget see to that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from pipeline.contracts import F64, I64
from pipeline.matching.calibration import Calibration
from pipeline.matching.evidence import Bools
from pipeline.matching.people import People
from pipeline.matching.tracks import Spans

_PEOPLE, _ARRIVALS = 2048, 512  # the newest: more would take longer than they would tell
_LOOKS: F64 = np.linspace(-14.0, 14.0, 113)  # edges of log-odds
_TIMES: F64 = np.array([-99.0, -7.0, -5.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 99.0])  # likewise
_STRANGE, _SAME = -4.0, 7.0  # log-odds of looks below and above which nearly all pairs are two, and one
_LEAST_PAIRS = 40  # that show how one person's times are
_STRANGER_WEIGHT = 5.0  # pairs of strangers among these
# This and the pivot were chosen on two rendered sites, and held on two others, on simulated vectors and on Market-1501.
_SPREAD = 0.5  # of slopes, before anything was seen
_DECIDES = 4.0  # log-odds of looks at which it matters most whether they are believed
_STEEPEST = 3.0
_PIVOT = 1.5  # log-odds of looks below which they count for less, wherever they count for more above


@dataclass(frozen=True, slots=True)
class Sharpness:
    """Log-odds of looks become `slope` times as high, and rise by `shift`."""

    slope: float = 1.0
    shift: float = 0.0

    def of(self, log_odds: F64) -> F64:
        sharpened: F64 = self.slope * log_odds + self.shift
        return sharpened


def sharpened(people: People, calibration: Calibration, spans: Spans, places: I64, faster_s: F64) -> F64:
    """The curves of a site's new calibration, which still has those of the model (see `LookPrior`).

    `spans` (N,) are the tracks by the calibration's clock, `places` (N,) their cameras in it, and `faster_s` (A,) how
    much faster each camera's clock is than was thought.
    """
    return sharpness(_pairs(people, calibration, spans, places, faster_s)).of(calibration.curves)


def sharpness(pairs: F64) -> Sharpness:
    """From pairs of an arrival and a known person, counted by the log-odds of their looks and of their times."""
    looks = (_LOOKS[1:] + _LOOKS[:-1]) / 2
    above = pairs.sum(axis=1)[::-1].cumsum()[::-1]
    enough = looks[above >= _LEAST_PAIRS].max(initial=-np.inf)
    if enough < 0.0:
        return Sharpness()
    apart = pairs[looks < _STRANGE].sum(axis=0) + 0.5
    apart /= apart.sum()
    one = pairs[looks >= min(enough, _SAME)].sum(axis=0) + _STRANGER_WEIGHT * apart
    one /= one.sum()
    open_, counts = looks[looks > _STRANGE, None], pairs[looks > _STRANGE]

    def unlikely(line: F64) -> float:
        shares = expit(line[0] * open_ + line[1])
        return float(
            -(counts * np.log(shares * one + (1.0 - shares) * apart)).sum() + 0.5 * ((line[0] - 1) / _SPREAD) ** 2
        )

    slope, height = map(float, minimize(unlikely, np.array([1.0, -4.0]), method="Nelder-Mead").x)
    # Even odds are those of a pair that nothing is known about.
    share = float((counts * expit(slope * open_ + height)).sum() / pairs.sum())
    slope = min(slope, _STEEPEST)
    shift = min(height - math.log(share / (1.0 - share)), -_PIVOT * (slope - 1.0))
    trust = float(np.clip(slope * _DECIDES + shift - _DECIDES, 0.0, 1.0))
    return Sharpness(1.0 + trust * (slope - 1.0), trust * shift)


def _pairs(people: People, calibration: Calibration, spans: Spans, places: I64, faster_s: F64) -> F64:
    """(looks, times) how many: the first tracklets of tracks, each with everybody who was known when it came."""
    book = people.exemplars
    numbers = np.intersect1d(people.identities.newest(_PEOPLE), spans.global_ids)
    slots, counts = book.slots(numbers.tolist())
    cameras = np.array([calibration.place(name) for name in book.camera_ids], np.int64)[book.cameras(slots)]
    started_at = book.started_at(slots) - faster_s[cameras]
    looks = calibration.looks(book.vectors(slots), cameras)
    whose, size = np.repeat(np.arange(len(numbers)), counts), len(calibration.cameras) + 1
    walks = _Walks.of(spans, places, numbers)
    first = np.flatnonzero(np.isin(started_at + 1j * cameras, spans.started_at + 1j * places))
    newest = first[np.argsort(started_at[first], kind="stable")[-_ARRIVALS:]]
    similarities = looks[newest] @ looks.T
    found = np.zeros((len(_LOOKS) - 1, len(_TIMES) - 1))
    for row, own in enumerate(newest.tolist()):
        place, now = int(cameras[own]), float(started_at[own])
        before = np.flatnonzero(started_at < now)
        held = np.bincount(whose[before] * size + cameras[before], minlength=len(numbers) * size).reshape(-1, size)
        similar = np.bincount(whose[before], similarities[row, before], minlength=len(numbers))
        left_at, from_cameras, may_come = walks.until(now, place)
        may_come &= held.any(axis=1)
        held, similar = held[may_come], similar[may_come]
        alike = calibration.look_odds(similar / held.sum(axis=1), held, place)
        times = calibration.transit.evidence(from_cameras[may_come], place, now - left_at[may_come])
        found += np.histogram2d(alike.clip(_LOOKS[0], _LOOKS[-1]), times, (_LOOKS, _TIMES))[0]
    return found


@dataclass(frozen=True, eq=False)
class _Walks:
    """Tracks in the order of persons, and of each in the order in which they began."""

    cameras: I64
    started_at: F64
    ended_at: F64
    begins: I64  # (K,) of each person's

    @classmethod
    def of(cls, spans: Spans, places: I64, numbers: I64) -> _Walks:
        """Of persons (K,), ascending, each of whom has a track."""
        order = np.lexsort((places, spans.started_at, spans.global_ids))
        order = order[np.isin(spans.global_ids[order], numbers)]
        begins = np.searchsorted(spans.global_ids[order], numbers)
        return cls(places[order], spans.started_at[order], spans.ended_at[order], begins)

    def until(self, now: float, place: int) -> tuple[F64, I64, Bools]:
        """(K,) when and where each person was seen last before `now`, and who may be another track before the camera
        at `place`."""
        begun = np.add.reduceat((self.started_at < now).astype(np.int64), self.begins)
        last = self.begins + begun - 1
        left_at, cameras = self.ended_at[last], self.cameras[last]
        return left_at, cameras, (begun > 0) & ((cameras != place) | (left_at < now))
