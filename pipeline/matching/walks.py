"""Whether one person can have gone the ways of two: what the times of all their tracks tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import I64
from pipeline.matching.evidence import believed
from pipeline.matching.people import People
from pipeline.matching.tracks import Spans
from pipeline.matching.transit import bin_of

WALK_LIMIT = 8.0  # beyond these log-odds no walk is believed, because clocks and trackers err


@dataclass(frozen=True, slots=True)
class Walk:
    """The tracks of two, in the order of time, as one walk."""

    odds: float  # log-odds of one person, against two who go their own ways
    gap_s: float  # between those of their tracks that lie closest together in time


def walk(people: People, one: Spans, other: Spans) -> Walk:
    """Of two parts that each have a track, and were nowhere at the same time."""
    here = [people.calibration.place(camera_id) for camera_id in people.tracks.camera_ids]
    places = np.array(here, np.int64)
    apart = _walked(people, places, [one]) + _walked(people, places, [other])
    odds = min(max(_walked(people, places, [one, other]) - apart, -WALK_LIMIT), WALK_LIMIT)
    forth = other.started_at[None] - one.ended_at[:, None]
    back = one.started_at[:, None] - other.ended_at[None]
    return Walk(odds, float(np.maximum(forth, back).ravel()[np.abs(np.maximum(forth, back)).argmin()]))


def _walked(people: People, places: I64, parts: Sequence[Spans]) -> float:
    """Log-odds that each of these tracks but the first is a return, and not somebody new.

    `places` (A,) are those of the cameras in the book of tracks.
    """
    if len(parts) == 1 and len(parts[0]) == 1:
        return 0.0
    cameras = np.concatenate([part.cameras for part in parts])
    started_at = np.concatenate([part.started_at for part in parts])
    ended_at = np.concatenate([part.ended_at for part in parts])
    order = np.lexsort((cameras, ended_at, started_at))
    at = places[cameras[order]]
    gaps_s = started_at[order][1:] - ended_at[order][:-1]
    odds = people.calibration.transit.log_odds[at[:-1], at[1:], bin_of(gaps_s)]
    return float(believed(odds, len(people)).sum())
