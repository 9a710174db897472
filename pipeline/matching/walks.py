"""Whether one person can have gone the ways of two: what the times of all their tracks tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F64
from pipeline.matching.evidence import WALK_LIMIT, believed
from pipeline.matching.people import People
from pipeline.matching.tracks import Spans
from pipeline.matching.transit import bin_of


@dataclass(frozen=True, slots=True)
class Walk:
    """The tracks of two, in the order of time, as one walk."""

    odds: float  # log-odds of one person, against two who go their own ways
    gap_s: float  # between those of their tracks that lie closest together in time


def walk(people: People, one: Spans, other: Spans) -> Walk:
    """Of two parts that each have a track, and were nowhere at the same time."""
    return Walk(float(walk_odds(people, [one], [other])[0]), gap_s(one, other))


def gap_s(one: Spans, other: Spans) -> float:
    """Between those of their tracks that lie closest together in time."""
    forth = other.started_at[None] - one.ended_at[:, None]
    back = one.started_at[:, None] - other.ended_at[None]
    gaps_s = np.maximum(forth, back).ravel()
    return float(gaps_s[np.abs(gaps_s).argmin()])


def walk_odds(people: People, ones: Sequence[Spans], others: Sequence[Spans]) -> F64:
    """(W,) the log-odds of the walk of each one with its other, W > 0; all at once, because most walks are short."""
    apart = _walked(people, [[one] for one in ones]) + _walked(people, [[other] for other in others])
    together = _walked(people, list(zip(ones, others, strict=True)))
    odds: F64 = (together - apart).clip(-WALK_LIMIT, WALK_LIMIT)
    return odds


def _walked(people: People, walks: Sequence[Sequence[Spans]]) -> F64:
    """(W,) log-odds that each track of a walk but the first is a return, and not somebody new."""
    places = np.array([people.calibration.place(camera_id) for camera_id in people.tracks.camera_ids], np.int64)
    parts = [part for walk in walks for part in walk]
    cameras = np.concatenate([part.cameras for part in parts])
    started_at = np.concatenate([part.started_at for part in parts])
    ended_at = np.concatenate([part.ended_at for part in parts])
    counts = np.array([sum(map(len, walk)) for walk in walks], np.int64)
    first = np.cumsum(counts) - counts
    order = np.lexsort((cameras, ended_at, started_at, np.repeat(np.arange(len(walks)), counts)))
    at = places[cameras[order]]
    gaps_s = started_at[order][1:] - ended_at[order][:-1]
    odds = np.zeros(len(order))
    odds[1:] = believed(people.calibration.transit.log_odds[at[:-1], at[1:], bin_of(gaps_s)], len(people))
    odds[first] = 0.0  # from the last of one walk to the first of the next nobody goes
    found: F64 = np.add.reduceat(odds, first)
    return found
