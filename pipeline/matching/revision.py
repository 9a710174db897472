"""Second thoughts: two identities that turn out to be one person, and a track that cannot be who it was taken for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import GlobalId
from pipeline.matching.assignment import Candidates, evidence, probabilities, rounded
from pipeline.matching.people import People


@dataclass(frozen=True, slots=True)
class Merge:
    """`other` is the same person as `into`, which keeps its number."""

    into: GlobalId
    other: GlobalId
    confidence: float
    reason: str


def merges(people: People, touched: Sequence[GlobalId]) -> list[Merge]:
    """Which identities are one person, now that there is more of those that were `touched`. An identity is in one merge
    at most; the rest comes with the next round."""
    own = [global_id for global_id in sorted(set(touched)) if global_id in people.identities]
    if not own or len(people) < 2:
        return []
    least = people.calibration.least_probability
    found = [merge for global_id in own if (merge := _best(people, global_id)) and merge.confidence >= least]
    done: set[GlobalId] = set()
    chosen = []
    for merge in sorted(found, key=lambda each: (-each.confidence, each.into, each.other)):
        if not done & {merge.into, merge.other}:
            done |= {merge.into, merge.other}
            chosen.append(merge)
    return chosen


def _best(people: People, global_id: GlobalId) -> Merge | None:
    calibration = people.calibration
    look = people.identities.looks(np.array([global_id], np.int64))
    numbers = people.nearest(look / max(float(np.linalg.norm(look)), 1e-6))
    numbers = numbers[numbers != global_id]
    if not len(numbers):
        return None
    similarities = rounded(people.identities.looks(numbers) @ look[0])
    candidates = people.identities.candidates(numbers, similarities[None], calibration)
    mine = people.tracks.spans(global_id)
    own_count = float(len(people.exemplars.of(global_id)))
    place = calibration.place(mine[0][0])
    rough = evidence(calibration, candidates, similarities, place, np.zeros(len(numbers)), own_count)
    odds = np.full(len(numbers), -np.inf)
    needed = np.log(calibration.least_probability / (1 - calibration.least_probability)) - 6.0
    gaps = np.zeros(len(numbers))
    for column in np.flatnonzero(rough.looks >= needed).tolist():
        other = GlobalId(int(numbers[column]))
        theirs = people.tracks.spans(other)
        if _meet(mine, theirs):
            continue
        transit, gaps[column] = _transit(people, mine, theirs)
        odds[column] = rough.looks[column] + transit
    best = int(odds.argmax())
    if not np.isfinite(odds[best]):
        return None
    rivals = _rivals(people, candidates, numbers, best, odds)
    shares, _ = probabilities(np.where(rivals, odds, -np.inf))
    other = GlobalId(int(numbers[best]))
    into, other = min(global_id, other), max(global_id, other)
    return Merge(into, other, float(shares[best]), f"{similarities[best]:.2f} alike, {gaps[best]:.0f} s apart")


def _rivals(people: People, candidates, numbers, best: int, odds):
    """Who cannot be the same person as the best candidate, by looks or because they met; and that one itself."""
    looks = people.identities.looks(numbers)
    similar = rounded(looks @ looks[best])
    place = int(candidates.places[best])
    with_best = evidence(people.calibration, candidates, similar, place, np.zeros(len(numbers)), float(candidates.exemplars[best].sum()))
    rivals = np.zeros(len(numbers), bool)
    theirs = people.tracks.spans(GlobalId(int(numbers[best])))
    for column in np.flatnonzero(odds > odds[best] - 6).tolist():
        rivals[column] = with_best.looks[column] < 0 or _meet(theirs, people.tracks.spans(GlobalId(int(numbers[column]))))
    rivals[best] = True
    return rivals


def _meet(mine, theirs) -> bool:
    """Whether two identities were at one moment in one camera."""
    there = dict(theirs)
    for camera_id, spans in mine:
        other = there.get(camera_id)
        if other is not None and (
            (spans.started_at[:, None] <= other.ended_at) & (spans.ended_at[:, None] >= other.started_at)
        ).any():
            return True
    return False


def _transit(people: People, mine, theirs) -> tuple[float, float]:
    """Log-odds of the transition between the two that lie closest together, and its gap."""
    def columns(parts):
        place = np.concatenate([np.full(len(s), people.calibration.place(c)) for c, s in parts])
        return place, np.concatenate([s.started_at for _, s in parts]), np.concatenate([s.ended_at for _, s in parts])
    if not mine or not theirs:
        return -6.0, 0.0
    a, b = columns(mine), columns(theirs)
    forth = b[1][None] - a[2][:, None]  # from mine to theirs
    back = a[1][:, None] - b[2][None]
    i, j = np.unravel_index(np.abs(np.maximum(forth, back)).argmin(), forth.shape)
    if forth[i, j] >= back[i, j]:
        gap, frm, to = forth[i, j], a[0][i], b[0][j]
    else:
        gap, frm, to = back[i, j], b[0][j], a[0][i]
    odds = people.calibration.transit.evidence(np.array([frm], np.int64), int(to), np.array([gap]))
    return float(np.clip(odds[0], -6, 6)), float(gap)
