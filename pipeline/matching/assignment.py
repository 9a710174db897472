"""Where it is decided that two sightings are one person. Pure: evidence in, verdicts out.

Three rules are hard: pieces of one track stay together, one person is not twice in one camera at once, and corrections
are law. Otherwise an arrival is weighed against everybody known and against somebody new: what the looks tell (see
`calibration`) and what time and place tell (see `transit`) add up to log-odds, and these share out the probability.
People who resemble the arrival equally share it too, so nobody is joined in a crowd of uniforms. What remains is solved
jointly: people at the same moment in one camera compete for the known identities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.contracts import F64, GlobalId, TrackletEmbedding, TrackletId, unpack_vector
from pipeline.decisions import MAX_CANDIDATES, NOBODY_YET, CandidateEvidence, Evidence
from pipeline.matching.calibration import Calibration
from pipeline.matching.evidence import Arrival, Board, Bools, Candidates, TrackKey, Weights, highest, probabilities

TRACK_CONFIDENCE = 0.97  # that the tracker did not swap two people within one track
HERE = "elsewhere in this camera at the same time"
_FORBIDDEN = -1e6  # outweighs any sum of log-odds
_LEAST = 0.3  # however much the budget allows
_USUAL_JOINS = 1.0 - np.linspace(0.0, 1.0, 32) ** 3  # probabilities: few are open, most are clear
# Below any join that the budget allows: one that was not made would be made as a merge at the next look.
_OPENING = -20.0
_TIE = 1e-9  # below any difference that counts: equals go to the smaller number


@dataclass(frozen=True, slots=True)
class Standing:
    """What is certain about one arrival before its micro-batch is decided."""

    bound_to: GlobalId | None  # the identity of earlier pieces of its track
    present: frozenset[GlobalId]  # who was in the same camera at the same time, in other tracks


@dataclass(frozen=True, slots=True)
class Verdict:
    """The identity of one arrival, and why."""

    global_id: GlobalId
    is_new: bool
    confidence: float  # 0 to 1
    reason: str
    is_tentative: bool = False  # the evidence was weak: more of it may lead to a merge or a split
    evidence: Evidence | None = None  # None for a track that goes on


def least_for(budget: float, likeliest: F64) -> float:
    """The least probability of a join, so that a share `budget` of the joins is wrong.

    `likeliest` (N,) are the probabilities of the likeliest known person that arrivals of the site have had. Most joins
    are surer than they need be, so some may be less sure. `_USUAL_JOINS` are added to those seen.
    """
    ordered = np.sort(np.concatenate([_USUAL_JOINS, likeliest]))[::-1]
    wrong = np.cumsum(1.0 - ordered) / np.arange(1, len(ordered) + 1)
    # Of equals either all join or none.
    too_many = ordered[wrong > budget].max(initial=0.0)
    return max(float(ordered[ordered > too_many].min(initial=1.0)), _LEAST)


def track_of(piece: TrackletEmbedding) -> TrackKey:
    """The track that a tracklet is a piece of."""
    return piece.camera_id, piece.boot_id, piece.track_id


def arrivals_of(batch: Sequence[TrackletEmbedding], clock_s: Callable[[str], float] = lambda _: 0.0) -> list[Arrival]:
    """Pieces grouped by track, earliest first and equals by name, whatever order they came in.

    `clock_s` tells how much the clock of a camera is fast; arrivals have the time of one clock.
    """
    pieces = sorted(batch, key=lambda piece: (track_of(piece), _by_time(piece)))
    arrivals = [_arrival(tuple(group), clock_s(track[0])) for track, group in groupby(pieces, key=track_of)]
    return sorted(arrivals, key=lambda arrival: (arrival.started_at, arrival.pieces[0].tracklet_id))


def are_exclusive(a: Arrival, b: Arrival) -> bool:
    """Whether two arrivals must be two people: at one moment, in one camera, followed as two tracks.

    Both ends count, because a track's ends are frames in which the person was seen.
    """
    is_same_camera = a.track[0] == b.track[0] and a.track != b.track
    return is_same_camera and a.started_at <= b.ended_at and b.started_at <= a.ended_at


def assign(
    arrivals: Sequence[Arrival],
    standings: Sequence[Standing],
    candidates: Candidates,
    first_new_id: GlobalId,
    calibration: Calibration,
    least: float,
    budget: float,
) -> list[Verdict]:
    """One verdict for each arrival; `arrivals` in the order of `arrivals_of`, `standings` beside them.

    Arrivals of known tracks come first, since they are certain; `candidates` must hold their identities. The others
    follow in time order, in groups of mutually exclusive arrivals; each group is solved jointly and sees what was
    decided before it. New identities are numbered upwards from `first_new_id`. `least` is the least probability of
    a join; `budget` the share of joins that may be wrong.
    """
    board = Board(arrivals, candidates, calibration)
    rule = _Rule(calibration.number, least, 1.0 - budget)
    verdicts: dict[int, Verdict] = {}
    for index, standing in enumerate(standings):
        if standing.bound_to is not None:
            verdicts[index] = _continued(arrivals[index], standing.bound_to, standing.present)
            board.join(index, standing.bound_to)
    next_id = first_new_id
    exclusive = _exclusive_of_each(arrivals)
    for group in _exclusive_groups(exclusive, skip=verdicts):
        present = [
            standings[index].present | {verdicts[other].global_id for other in exclusive[index] if other in verdicts}
            for index in group
        ]
        for index, verdict in zip(group, _solve(board, group, present, next_id, rule), strict=True):
            verdicts[index] = verdict
            board.join(index, verdict.global_id)
            next_id = GlobalId(next_id + verdict.is_new)
    return [verdicts[index] for index in range(len(arrivals))]


@dataclass(frozen=True, slots=True)
class _Rule:
    calibration: int
    least: float  # probability of a join
    sure: float  # below this confidence a verdict is tentative


def _by_time(piece: TrackletEmbedding) -> tuple[float, TrackletId]:
    return piece.started_at, piece.tracklet_id


def _arrival(pieces: tuple[TrackletEmbedding, ...], fast_s: float) -> Arrival:
    vectors = np.stack([unpack_vector(piece.appearance) for piece in pieces])
    weights = np.array([piece.quality for piece in pieces], np.float32) + np.float32(1e-3)
    mean = weights @ vectors
    length = float(np.linalg.norm(mean))
    if length < 1e-3:  # opposite vectors cancel; the first piece speaks for the track
        mean, length = vectors[0], float(np.linalg.norm(vectors[0]))
    return Arrival(
        pieces=pieces,
        vector=(mean / np.float32(length)).astype(np.float32),
        track=track_of(pieces[0]),
        started_at=pieces[0].started_at - fast_s,
        ended_at=max(piece.ended_at for piece in pieces) - fast_s,
    )


def _continued(arrival: Arrival, global_id: GlobalId, present: frozenset[GlobalId]) -> Verdict:
    reason = f"track {arrival.track[2]} of {arrival.camera_id} is person {global_id}"
    if global_id in present:
        reason += ", although another track of this camera was taken for the same person at this time"
    return Verdict(global_id, False, TRACK_CONFIDENCE, reason)


def _exclusive_of_each(arrivals: Sequence[Arrival]) -> list[set[int]]:
    """For each arrival the indices of those that are exclusive of it."""
    found: list[set[int]] = [set() for _ in arrivals]
    by_camera: dict[str, list[int]] = {}
    for index, arrival in enumerate(arrivals):
        by_camera.setdefault(arrival.track[0], []).append(index)
    for own in by_camera.values():
        for one, other in combinations(own, 2):
            if are_exclusive(arrivals[one], arrivals[other]):
                found[one].add(other)
                found[other].add(one)
    return found


def _exclusive_groups(exclusive: Sequence[set[int]], skip: Mapping[int, Verdict]) -> Iterator[list[int]]:
    """Indices in time order, in groups whose members are exclusive of each other."""
    waiting = [index for index in range(len(exclusive)) if index not in skip]
    while waiting:
        group: list[int] = []
        rest: list[int] = []
        for index in waiting:
            (group if exclusive[index].issuperset(group) else rest).append(index)
        waiting = rest
        yield group


def _solve(
    board: Board, group: Sequence[int], present: Sequence[frozenset[GlobalId]], next_id: GlobalId, rule: _Rule
) -> list[Verdict]:
    """Verdicts for mutually exclusive arrivals: as many joins as are allowed, so that the product of their odds is
    greatest."""
    weights = board.weigh(group)
    odds = weights.odds
    for row, here in enumerate(present):
        odds[row, board.columns(here)] = -np.inf
    shares, new = probabilities(odds)
    # Time alone makes nobody one: who looks rather like somebody else is not joined, however well he comes.
    chosen = _chosen(odds, (weights.looks > 0.0) & (shares >= rule.least))
    taken = {column for column in chosen if column is not None}
    others = [taken - {column} for column in chosen]
    if taken:
        for row, columns in enumerate(others):
            odds[row, list(columns)] = -np.inf
        shares, new = probabilities(odds)
    best = highest(weights.odds, MAX_CANDIDATES).tolist()
    verdicts = []
    for row, column in enumerate(chosen):
        elsewhere = board.columns(present[row])
        found = _Found(weights.of(row), shares[row], float(new[row]), best[row], elsewhere, others[row])
        verdict = _verdict(board, found, column, next_id, rule)
        next_id = GlobalId(next_id + verdict.is_new)
        verdicts.append(verdict)
    return verdicts


def _chosen(odds: F64, may_join: Bools) -> list[int | None]:
    """For each row the column that it is given, None for somebody new; no column is given twice."""
    columns = np.flatnonzero(may_join.any(axis=0))
    count, known = len(odds), len(columns)
    gain = np.full((count, known + count), _FORBIDDEN)
    gain[np.arange(count), known + np.arange(count)] = _OPENING
    # Of equals the smaller number wins.
    preference = _TIE * np.arange(odds.shape[1], 0, -1)[columns]
    gain[:, :known] = np.where(may_join[:, columns], odds[:, columns] + preference, _FORBIDDEN)
    given = linear_sum_assignment(gain, maximize=True)[1].tolist()  # row numbers come in order
    return [int(columns[place]) if place < known else None for place in given]


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found about one arrival."""

    weights: Weights
    shares: F64  # (C,)
    new: float
    best: Sequence[int]  # columns of the most probable, whatever forbids them
    here: Sequence[int]  # columns of those who were elsewhere in the camera
    others: set[int]  # columns that its competitors were given


def _verdict(board: Board, found: _Found, column: int | None, next_id: GlobalId, rule: _Rule) -> Verdict:
    """For one arrival that was given `column`, or somebody new."""
    constraints = {place: HERE for place in found.best if place in found.here}
    constraints |= {
        place: f"someone else {HERE.removeprefix('elsewhere ')}" for place in found.best if place in found.others
    }
    told = board.told(found.weights, found.shares, found.best, constraints)
    evidence = Evidence(calibration=rule.calibration, candidates=told, new_probability=found.new, threshold=rule.least)
    if column is None:
        return Verdict(next_id, True, found.new, _opened(told, rule.least), found.new < rule.sure, evidence)
    if column in found.best:
        own = told[found.best.index(column)]
    else:
        (own,) = board.told(found.weights, found.shares, [column], {})
    confidence = own.probability
    return Verdict(GlobalId(own.global_id), False, confidence, _joined(own), confidence < rule.sure, evidence)


def _joined(own: CandidateEvidence) -> str:
    return f"{_alike(own)}, {own.gap_s:.0f} s later ({own.transit_log_odds:+.1f}): {own.probability:.0%} sure"


def _opened(candidates: Sequence[CandidateEvidence], least: float) -> str:
    if not candidates:
        return NOBODY_YET
    best = candidates[0]
    if best.constraint is not None:
        return f"new: closest is {_alike(best)}, who is {best.constraint}"
    return (
        f"new: closest is {_alike(best)}, {best.gap_s:.0f} s later ({best.transit_log_odds:+.1f}): "
        f"{best.probability:.0%} sure, {least:.0%} needed"
    )


def _alike(seen: CandidateEvidence) -> str:
    where = f"person {seen.global_id} seen in {seen.camera_id}"
    return f"{where}, {seen.similarity:.2f} alike (log-odds {seen.appearance_log_odds:+.1f})"
