"""Second thoughts: identities that turn out to be one person, now that more has been seen of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F32, F64, I64, GlobalId
from pipeline.matching.assignment import TIME_LIMIT, Bools, Candidates, evidence, probabilities, rounded
from pipeline.matching.people import People
from pipeline.matching.tracks import Spans

_NO_RIVAL = 6.0  # log-odds behind the best


@dataclass(frozen=True, slots=True)
class Merge:
    """`other` is the same person as `into`, which keeps its number."""

    into: GlobalId
    other: GlobalId
    confidence: float
    reason: str


def merges(people: People, touched: Sequence[GlobalId]) -> list[Merge]:
    """Which identities are one person, now that there is more of those that were `touched`.

    An identity is in one merge at most; what follows from a merge comes with the next round.
    """
    own = np.array([number for number in sorted(set(touched)) if number in people.identities], np.int64)
    if not len(own) or len(people) < 2:
        return []
    looks = people.identities.looks(own)
    unit: F32 = looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), np.float32(1e-6))
    numbers = people.nearest(unit)
    similarities = rounded(looks @ people.identities.looks(numbers).T)
    found = [
        merge
        for row, number in enumerate(own.tolist())
        if (merge := _best(people, GlobalId(number), numbers, similarities[row]))
        and merge.confidence >= people.calibration.least_probability
    ]
    done: set[GlobalId] = set()
    chosen = []
    for merge in sorted(found, key=lambda each: (-each.confidence, each.into, each.other)):
        if not done & {merge.into, merge.other}:
            done |= {merge.into, merge.other}
            chosen.append(merge)
    return chosen


def _best(people: People, global_id: GlobalId, numbers: I64, similarities: F64) -> Merge | None:
    """Who is most probably the same person as `global_id`."""
    mine = people.tracks.spans(global_id)
    if not len(mine):
        return None
    calibration = people.calibration
    looks = _looks(people, numbers, similarities, global_id)
    odds = np.full(len(numbers), -np.inf)
    gaps_s = np.zeros(len(numbers))
    least = float(np.log(calibration.least_probability / (1.0 - calibration.least_probability)))
    for column in np.flatnonzero((looks >= least - TIME_LIMIT) & (numbers != global_id)).tolist():
        theirs = people.tracks.spans(GlobalId(int(numbers[column])))
        if len(theirs) and not mine.meets(theirs):
            transit, gaps_s[column] = _transit(people, mine, theirs)
            odds[column] = looks[column] + transit
    if not np.isfinite(odds).any():
        return None
    best = int(odds.argmax())
    shares, _ = probabilities(np.where(_rivals(people, numbers, best, odds), odds, -np.inf))
    one, other = sorted((global_id, GlobalId(int(numbers[best]))))
    return Merge(one, other, float(shares[best]), f"{similarities[best]:.2f} alike, {gaps_s[best]:.0f} s apart")


def _looks(people: People, numbers: I64, similarities: F64, global_id: GlobalId) -> F64:
    """Log-odds from looks alone, of identities and one of them."""
    candidates: Candidates = people.identities.candidates(numbers, similarities[None], people.calibration)
    place = people.calibration.place(people.identities.last_seen(global_id)[1])
    others = float(len(people.exemplars.of(global_id)))
    return evidence(people.calibration, candidates, similarities, place, np.zeros(len(numbers)), others).looks


def _rivals(people: People, numbers: I64, best: int, odds: F64) -> Bools:
    """The best candidate, and those that cannot be one person with it, by their looks or because they met."""
    chosen = GlobalId(int(numbers[best]))
    similar = rounded(people.identities.looks(numbers) @ people.identities.looks(numbers[best : best + 1])[0])
    rivals: Bools = _looks(people, numbers, similar, chosen) < 0
    theirs = people.tracks.spans(chosen)
    for column in np.flatnonzero((odds > odds[best] - _NO_RIVAL) & ~rivals).tolist():
        rivals[column] = theirs.meets(people.tracks.spans(GlobalId(int(numbers[column]))))
    rivals[best] = True
    return rivals


def _transit(people: People, mine: Spans, theirs: Spans) -> tuple[float, float]:
    """Log-odds of the transition between the tracks of the two that lie closest together, and its gap in seconds."""
    forth = theirs.started_at[None] - mine.ended_at[:, None]
    back = mine.started_at[:, None] - theirs.ended_at[None]
    row, column = np.unravel_index(np.abs(np.maximum(forth, back)).argmin(), forth.shape)
    cameras = people.tracks.camera_ids
    here = people.calibration.place(cameras[mine.cameras[row]])
    there = people.calibration.place(cameras[theirs.cameras[column]])
    is_forth = forth[row, column] >= back[row, column]
    gap_s = float(max(forth[row, column], back[row, column]))
    before, after = (here, there) if is_forth else (there, here)
    odds = people.calibration.transit.evidence(np.array([before], np.int64), after, np.array([gap_s]))
    return float(odds[0].clip(-TIME_LIMIT, TIME_LIMIT)), gap_s
