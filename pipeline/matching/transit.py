"""How long people take from one camera to the next, learnt while watching, and how often somebody new appears.

People are a point process. Whoever was last seen at camera `a` appears next at camera `b` after a gap, at the rate
`return share * P(b | a) * f_ab(gap)` per second; strangers appear at `b` at a rate of their own. The ratio of the two
says what time and place tell about who an arrival is, however many people are known: each of them grows less likely by
the hour. Gaps may be negative: fields of view overlap, and clocks of cameras differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.contracts import F64, I64

# Edges of the gaps' bins, seconds. Fine around nothing, every 20 seconds up to seven minutes either way, so that times
# stay as telling where clocks differ; then doubling up to 48 days. What lies outside counts to the outermost bins.
_FINE_S = (-10, -3, 1, 2, 4, 8, 16, 32)
_EVEN_S = range(-420, 421, 20)
_LONG_S = (-1200, -600, *(2**power for power in range(9, 23)))
EDGES_S: F64 = np.array(sorted({*_FINE_S, *_EVEN_S, *_LONG_S}), np.float64)
BINS = len(EDGES_S) - 1

# What is believed before anything was seen: half of the people come within a minute, half within hours, few before
# they have left. The gaps seen weigh as their number against these weights.
_SOON_S, _SOON_SPREAD = 20.0, 1.5
_LATER_S, _LATER_SPREAD = 1_100.0, 2.5
_EARLY_SHARE, _EARLY_S = 0.05, 60.0
_UNSEEN_SHARE = 0.3  # of the people go as nobody was seen to go, however many were seen: as those do who were missed
_SITE_WEIGHT = 20.0
_PAIR_WEIGHT = 10.0
_CHOICE_WEIGHT = 4.0  # of the next camera
_RETURNS, _ENDS = 6.0, 4.0  # how often people are seen again, of ten
_KNOWN_WEIGHT = 20.0  # gaps that a walking time of the map stands for
_FIRST_STRANGERS, _FIRST_S = 2.0, 60.0
_BEGINNING = 0.25  # of the tracks


@dataclass(frozen=True, eq=False)
class TransitTimes:
    """What was counted; the rates follow from it. Cameras are places 0 to A-1; place A is any camera not yet seen."""

    gaps: F64  # (A, A, BINS) transitions from camera to camera, by gap
    tracks: F64  # (A,) tracks seen, but for the first ones
    strangers: F64  # (A,) of these, how many were of somebody never seen before: expected, not as decided
    span_s: float  # time in which these were counted

    @classmethod
    def unknown(cls) -> TransitTimes:
        """Before anything was seen."""
        return cls(np.zeros((0, 0, BINS)), np.zeros(0), np.zeros(0), 0.0)

    @cached_property
    def log_odds(self) -> F64:
        """(A + 1, A + 1, BINS): of a return from camera to camera after a gap, against a stranger appearing there."""
        count = len(self.strangers)
        padded = np.pad(self.gaps, ((0, 1), (0, 1), (0, 0)))
        prior = prior_shares()
        site = _mixed(_shares(self.gaps.sum(axis=(0, 1)), prior * _SITE_WEIGHT), prior)
        density = _mixed(_shares(padded, site * _PAIR_WEIGHT), prior) / np.diff(EDGES_S)
        moves = padded.sum(axis=2)
        choice = _shares(moves, np.full(count + 1, _CHOICE_WEIGHT / (count + 1)))
        seen, opened = float(self.tracks.sum()), float(self.strangers.sum())
        share = (seen - opened + _RETURNS) / (seen + _RETURNS + _ENDS)
        total = (opened + _FIRST_STRANGERS) / (self.span_s + _FIRST_S)
        at_camera = total * _shares(np.append(self.tracks, 0.0), np.full(count + 1, _CHOICE_WEIGHT / (count + 1)))
        odds: F64 = np.log(share * choice[:, :, None] * density) - np.log(at_camera)[None, :, None]
        return odds

    @cached_property
    def best(self) -> float:
        """The greatest log-odds that any way and time give."""
        return float(self.log_odds.max())

    def evidence(self, from_cameras: I64, to_camera: int | I64, gap_s: F64) -> F64:
        """(C,) log-odds for people last seen at `from_cameras`, who would be at `to_camera` after `gap_s`."""
        found: F64 = self.log_odds[from_cameras, to_camera, bin_of(gap_s)]
        return found


def bin_of(gap_s: F64) -> I64:
    """The bin of each gap."""
    places = np.searchsorted(EDGES_S, gap_s, side="right") - 1
    return np.clip(places, 0, BINS - 1).astype(np.int64)


def count_transits(
    cameras: I64, people: I64, started_at: F64, ended_at: F64, newness: F64, camera_count: int
) -> TransitTimes:
    """Count from tracks (N,) with the place of their camera and their person: each track after the one before it.

    Strangers are counted by how probable they were. Counted as decided, a matcher that opens too many identities
    would expect more strangers, and open still more. The first tracks do not count among them: everybody is a stranger
    to a matcher that has just begun, which says nothing about how many will come.
    """
    gaps = np.zeros((camera_count, camera_count, BINS))
    if not len(cameras):
        return TransitTimes(gaps, np.zeros(camera_count), np.zeros(camera_count), 0.0)
    order = np.lexsort((cameras, started_at, people))
    same = people[order][1:] == people[order][:-1]
    before, after = order[:-1][same], order[1:][same]
    np.add.at(gaps, (cameras[before], cameras[after], bin_of(started_at[after] - ended_at[before])), 1.0)
    since = float(np.sort(started_at)[int(_BEGINNING * len(started_at))])
    late = started_at >= since
    tracks = np.bincount(cameras[late], minlength=camera_count).astype(np.float64)
    strangers = np.bincount(cameras[late], newness[late], minlength=camera_count).astype(np.float64)
    return TransitTimes(gaps, tracks, strangers, float(ended_at.max() - since))


def with_map(times: TransitTimes, cameras: Sequence[str], walks_s: Mapping[tuple[str, str], float]) -> TransitTimes:
    """Beside what was counted, what a map of the site tells: seconds on foot between two cameras, either way."""
    places = {name: place for place, name in enumerate(cameras)}
    gaps = times.gaps.copy()
    for (one, other), seconds in walks_s.items():
        if one in places and other in places:
            shares = _log_normal(math.log(max(seconds, 1.0)), 0.7) * _KNOWN_WEIGHT
            gaps[places[one], places[other]] += shares
            gaps[places[other], places[one]] += shares
    return TransitTimes(gaps, times.tracks, times.strangers, times.span_s)


def prior_shares() -> F64:
    """(BINS,) of gaps, before anything was seen."""
    early = np.diff(np.exp(np.minimum(EDGES_S, 0.0) / _EARLY_S))
    walks = 0.5 * _log_normal(math.log(_SOON_S), _SOON_SPREAD) + 0.5 * _log_normal(math.log(_LATER_S), _LATER_SPREAD)
    return _shares(np.zeros(BINS), _EARLY_SHARE * early / early.sum() + (1 - _EARLY_SHARE) * walks + 1e-6)


def _log_normal(mean: float, spread: float) -> F64:
    """(BINS,) shares of a log-normal time."""
    logs = np.log(np.maximum(EDGES_S, 1e-3))
    below = np.array([0.5 * math.erfc((mean - log) / (spread * math.sqrt(2.0))) for log in logs])
    below[EDGES_S <= 0] = 0.0
    shares = np.diff(below)
    return np.asarray(shares / shares.sum())


def _mixed(seen: F64, prior: F64) -> F64:
    return (1.0 - _UNSEEN_SHARE) * seen + _UNSEEN_SHARE * prior


def _shares(counts: F64, prior: F64) -> F64:
    """The Dirichlet mean along the last axis."""
    weighted = counts + prior
    shares: F64 = weighted / weighted.sum(axis=-1, keepdims=True)
    return shares
