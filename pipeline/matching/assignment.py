"""Where it is decided that two sightings are one person. Pure: evidence in, verdicts out.

Three rules are hard: pieces of one track stay together, one person is not twice in one camera at once, and corrections
are law. Otherwise an arrival is weighed against everybody known and against somebody new: what the looks tell (see
`calibration`) and what time and place tell (see `transit`) add up to log-odds, and these share out the probability.
People who resemble the arrival equally share it too, so nobody is joined in a crowd of uniforms. What remains is solved
jointly: people at the same moment in one camera compete for the known identities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from pipeline.contracts import F32, F64, I64, CameraId, GlobalId, TrackletEmbedding, TrackletId, unpack_vector
from pipeline.matching.calibration import Calibration

Bools = npt.NDArray[np.bool_]
TrackKey = tuple[str, str, int]  # camera_id, boot_id, track_id: one person followed by one camera

# Similarities are compared after rounding: searching the same vectors in another order may change the last bits of a
# float32 product, and a restarted matcher must decide as the undisturbed one did.
SIMILARITY_DECIMALS = 4
TRACK_CONFIDENCE = 0.97  # that the tracker did not swap two people within one track
SHOWN = 5  # candidates that are kept with a decision
_FORBIDDEN = -1e6  # outweighs any sum of log-odds
_TIE = 1e-9  # below any difference that counts: equals go to the smaller number
# No single kind of evidence is believed beyond these log-odds: looks because models err, times because people do.
LOOK_LIMIT, TIME_LIMIT = 12.0, 6.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """The pieces of one track that came in one micro-batch; decided as one."""

    pieces: tuple[TrackletEmbedding, ...]  # in time order
    vector: F32  # (A,) unit length: the pieces' mean, weighted by quality
    track: TrackKey
    started_at: float
    ended_at: float

    @property
    def camera_id(self) -> CameraId:
        return CameraId(self.track[0])


@dataclass(frozen=True, slots=True)
class Standing:
    """What is certain about one arrival before its micro-batch is decided."""

    bound_to: GlobalId | None  # the identity of earlier pieces of its track
    present: frozenset[GlobalId]  # who was in the same camera at the same time, in other tracks


@dataclass(frozen=True, eq=False)
class Candidates:
    """The known identities that the arrivals of a micro-batch may be, as columns.

    The similarity to an identity is the mean over its exemplars. The nearest exemplar alone would let two people grow
    together as soon as one tracklet of each looks alike.
    """

    global_ids: I64  # (C,) ascending
    places: I64  # (C,) the camera where each was seen last, as a place in the calibration
    seen_at: F64  # (C,) when
    exemplars: I64  # (C, A + 1) of each camera
    similarities: F64  # (N, C) of arrivals and identities
    doubts: Mapping[int, Mapping[int, float]] = field(default_factory=dict)

    @classmethod
    def nobody(cls, arrivals: int, cameras: int) -> Candidates:
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, np.zeros(0), np.zeros((0, cameras + 1), np.int64), np.zeros((arrivals, 0)))


@dataclass(frozen=True, slots=True)
class Weighed:
    """One identity that an arrival may have been, and what spoke for and against it."""

    global_id: GlobalId
    camera_id: str  # where it was seen last
    similarity: float
    look: float  # log-odds
    gap_s: float
    transit: float  # log-odds
    probability: float
    constraint: str | None  # why it could not be, whatever the evidence


@dataclass(frozen=True, slots=True)
class Verdict:
    """The identity of one arrival, and why."""

    global_id: GlobalId
    is_new: bool
    confidence: float  # 0 to 1
    reason: str
    is_tentative: bool = False  # the evidence was weak: more of it may lead to a merge or a split
    weighed: tuple[Weighed, ...] = ()  # the likeliest first; empty for a track that goes on

    @property
    def doubts(self) -> dict[GlobalId, float]:
        return {seen.global_id: seen.probability for seen in self.weighed if seen.probability > 0.02}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for each candidate (columns, in the order of `Candidates`) to be each of some arrivals (rows)."""

    similarities: F64
    looks: F64  # log-odds
    transits: F64  # log-odds
    gaps_s: F64

    @property
    def odds(self) -> F64:
        """Log-odds against somebody new."""
        return self.looks + self.transits


def track_of(piece: TrackletEmbedding) -> TrackKey:
    """The track that a tracklet is a piece of."""
    return piece.camera_id, piece.boot_id, piece.track_id


def arrivals_of(batch: Sequence[TrackletEmbedding]) -> list[Arrival]:
    """Pieces grouped by track, earliest first and equals by name, whatever order they came in."""
    pieces = sorted(batch, key=lambda piece: (track_of(piece), _by_time(piece)))
    arrivals = [_arrival(tuple(group)) for _, group in groupby(pieces, key=track_of)]
    return sorted(arrivals, key=lambda arrival: _by_time(arrival.pieces[0]))


def are_exclusive(a: Arrival, b: Arrival) -> bool:
    """Whether two arrivals must be two people: at one moment, in one camera, followed as two tracks.

    Both ends count, because a track's ends are frames in which the person was seen.
    """
    is_same_camera = a.track[0] == b.track[0] and a.track != b.track
    return is_same_camera and a.started_at <= b.ended_at and b.started_at <= a.ended_at


def probabilities(odds: F64) -> tuple[F64, F64]:
    """(..., C) and (...,): that each candidate, or somebody new, is the one; from log-odds against somebody new."""
    top = np.maximum(odds.max(axis=-1, initial=0.0), 0.0)
    weights = np.exp(odds - top[..., None])
    new = np.exp(-top)
    total = weights.sum(axis=-1) + new
    return weights / total[..., None], new / total


def assign(
    arrivals: Sequence[Arrival],
    standings: Sequence[Standing],
    candidates: Candidates,
    first_new_id: GlobalId,
    calibration: Calibration,
    budget: float,
) -> list[Verdict]:
    """One verdict for each arrival; `arrivals` in the order of `arrivals_of`, `standings` beside them.

    Arrivals of known tracks come first, since they are certain; `candidates` must hold their identities. The others
    follow in time order, in groups of mutually exclusive arrivals; each group is solved jointly and sees what was
    decided before it. New identities are numbered upwards from `first_new_id`. `budget` is the share of joins that may
    be wrong: a verdict that is less sure than this allows is tentative.
    """
    board = Board(arrivals, candidates, calibration)
    verdicts: dict[int, Verdict] = {}
    for index, standing in enumerate(standings):
        if standing.bound_to is not None:
            verdicts[index] = _continued(arrivals[index], standing.bound_to)
            board.join(index, standing.bound_to)
    next_id = first_new_id
    for group in _exclusive_groups(arrivals, skip=verdicts):
        present = [
            standings[index].present
            | {said.global_id for other, said in verdicts.items() if are_exclusive(arrivals[index], arrivals[other])}
            for index in group
        ]
        for index, verdict in zip(group, _solve(board, group, present, next_id, budget), strict=True):
            verdicts[index] = verdict
            board.join(index, verdict.global_id)
            if verdict.is_new:
                board.doubt(verdict.global_id, verdict.doubts)
            next_id = GlobalId(next_id + verdict.is_new)
    return [verdicts[index] for index in range(len(arrivals))]


def rounded(similarities: F32 | F64) -> F64:
    """Similarities as they are compared; see `SIMILARITY_DECIMALS`."""
    return np.asarray(similarities, np.float64).round(SIMILARITY_DECIMALS)


def evidence(
    calibration: Calibration,
    candidates: Candidates,
    similarities: F64,
    place: int,
    gaps_s: F64,
    others: float = 1.0,
) -> Evidence:
    """What speaks for each of `candidates` (C,) to have come to the camera at `place`.

    Each similarity is a mean over the pairs of the candidate's exemplars and of so many `others`.
    """
    exemplars = np.maximum(candidates.exemplars.sum(axis=1), 1).astype(np.float64)
    held = candidates.exemplars / np.maximum(candidates.exemplars.sum(axis=1, keepdims=True), 1)
    mean = held @ calibration.strangers_mean[:, place]
    deviation = held @ calibration.strangers_deviation[:, place]
    looks = calibration.curve.log_odds((similarities - mean) / deviation, exemplars, others)
    transits = calibration.transit.evidence(candidates.places, place, gaps_s)
    return Evidence(
        similarities=similarities,
        looks=calibration.believed(looks).clip(-LOOK_LIMIT, LOOK_LIMIT),
        transits=transits.clip(-TIME_LIMIT, TIME_LIMIT),
        gaps_s=gaps_s,
    )


class Board:
    """What is known of all arrivals and identities, kept up to date while a micro-batch is decided."""

    def __init__(self, arrivals: Sequence[Arrival], candidates: Candidates, calibration: Calibration) -> None:
        self.calibration = calibration
        self._arrivals = arrivals
        self.places = np.array([calibration.place(arrival.camera_id) for arrival in arrivals], np.int64)
        raw = np.stack([arrival.vector for arrival in arrivals]) if arrivals else np.zeros((0, 1), np.float32)
        looks = calibration.looks(raw, self.places) if arrivals else raw
        self._among_arrivals = rounded(looks @ looks.T)
        known, room = len(candidates.global_ids), len(candidates.global_ids) + len(arrivals)
        self._known = known
        self._global_ids = np.zeros(room, np.int64)
        self._places, self._seen_at = np.zeros(room, np.int64), np.zeros(room)
        self._exemplars = np.zeros((room, candidates.exemplars.shape[1]), np.int64)
        self._sums = np.zeros((len(arrivals), room))
        counts = candidates.exemplars.sum(axis=1)
        self._global_ids[:known] = candidates.global_ids
        self._places[:known], self._seen_at[:known] = candidates.places, candidates.seen_at
        self._exemplars[:known] = candidates.exemplars
        self._sums[:, :known] = candidates.similarities * counts
        self._columns = {global_id: column for column, global_id in enumerate(candidates.global_ids.tolist())}
        self._same: list[tuple[int, int, float]] = []
        for one, others in candidates.doubts.items():
            self.doubt(GlobalId(one), others)

    @property
    def global_ids(self) -> I64:
        return self._global_ids[: self._known]

    def camera_id(self, column: int) -> str:
        """Where an identity was seen last."""
        cameras = self.calibration.cameras
        place = int(self._places[column])
        return cameras[place] if place < len(cameras) else "a new camera"

    def join(self, index: int, global_id: GlobalId) -> None:
        """The pieces of an arrival become exemplars of an identity, which may be a new one."""
        column = self._columns.setdefault(global_id, self._known)
        arrival = self._arrivals[index]
        if column == self._known:
            self._known += 1
            self._global_ids[column] = global_id
            self._seen_at[column] = -np.inf
        pieces = len(arrival.pieces)
        self._sums[:, column] += pieces * self._among_arrivals[:, index]
        self._exemplars[column, self.places[index]] += pieces
        if arrival.ended_at >= self._seen_at[column]:
            self._seen_at[column], self._places[column] = arrival.ended_at, self.places[index]

    def doubt(self, global_id, others) -> None:
        own = self._columns.get(global_id)
        for other, probability in others.items():
            if own is not None and other in self._columns:
                self._same.append((own, self._columns[other], probability))

    def pooled(self, shares):
        found = shares.copy()
        for one, other, probability in self._same:
            found[..., other] += shares[..., one] * probability
            found[..., one] += shares[..., other] * probability
        return found

    def evidence(self, index: int) -> Evidence:
        """(C,) for one arrival and all identities so far."""
        known = self._known
        so_far = Candidates(
            self._global_ids[:known],
            self._places[:known],
            self._seen_at[:known],
            self._exemplars[:known],
            np.zeros((0, known)),
        )
        counts = np.maximum(so_far.exemplars.sum(axis=1), 1)
        similarities = rounded(self._sums[index, :known] / counts)
        gaps_s = self._arrivals[index].started_at - so_far.seen_at
        return evidence(self.calibration, so_far, similarities, int(self.places[index]), gaps_s)


def _by_time(piece: TrackletEmbedding) -> tuple[float, TrackletId]:
    return piece.started_at, piece.tracklet_id


def _arrival(pieces: tuple[TrackletEmbedding, ...]) -> Arrival:
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
        started_at=pieces[0].started_at,
        ended_at=max(piece.ended_at for piece in pieces),
    )


def _continued(arrival: Arrival, global_id: GlobalId) -> Verdict:
    reason = f"track {arrival.track[2]} of {arrival.camera_id} is person {global_id}"
    return Verdict(global_id, False, TRACK_CONFIDENCE, reason)


def _exclusive_groups(arrivals: Sequence[Arrival], skip: Mapping[int, Verdict]) -> Iterator[list[int]]:
    """Indices in time order, in groups whose members are exclusive of each other."""
    waiting = [index for index in range(len(arrivals)) if index not in skip]
    while waiting:
        group: list[int] = []
        rest: list[int] = []
        for index in waiting:
            fits = all(are_exclusive(arrivals[index], arrivals[other]) for other in group)
            (group if fits else rest).append(index)
        waiting = rest
        yield group


def _solve(
    board: Board, group: Sequence[int], present: Sequence[frozenset[GlobalId]], next_id: GlobalId, budget: float
) -> list[Verdict]:
    """Verdicts for mutually exclusive arrivals, so that the product of the odds is greatest."""
    found = [board.evidence(index) for index in group]
    count, known = len(group), len(board.global_ids)
    is_free = np.stack([~np.isin(board.global_ids, list(here)) for here in present]).reshape(count, known)
    odds = np.stack([each.odds for each in found]).reshape(count, known)
    odds = np.where(is_free, odds, -np.inf)
    shares, news = probabilities(odds)
    shares = np.where(is_free, board.pooled(shares).clip(0, 1 - 1e-6), 0)
    gain = np.full((count, known + count), _FORBIDDEN)
    gain[np.arange(count), known + np.arange(count)] = 0.0
    can_join = shares >= board.calibration.least_probability
    preference = _TIE * np.arange(known, 0, -1)
    gain[:, :known] = np.where(can_join, np.log(np.maximum(shares, 1e-9)) - np.log(news)[:, None] + preference, _FORBIDDEN)
    chosen = linear_sum_assignment(gain, maximize=True)[1]  # row numbers come in order
    taken = [column for column in chosen.tolist() if column < known]
    verdicts = []
    for row, column in enumerate(chosen.tolist()):
        left = odds[row].copy()
        left[[other for other in taken if other != column]] = -np.inf
        shares_left, new = probabilities(left)
        shares_left = np.where(np.isfinite(left), board.pooled(shares_left).clip(0, 1 - 1e-6), 0)
        weighed = _weighed(board, found[row], shares_left, is_free[row], taken, column)
        if column < known:
            confidence = float(shares_left[column])
            global_id = GlobalId(int(board.global_ids[column]))
            seen = next((each for each in weighed if each.global_id == global_id), None)
            reason = _joined(seen or _weigh(board, found[row], shares_left, column, None), confidence)
        else:
            confidence, global_id = float(new), next_id
            reason = _opened(weighed, board.calibration.least_probability)
            next_id = GlobalId(next_id + 1)
        verdicts.append(Verdict(global_id, column >= known, confidence, reason, confidence < 1.0 - budget, weighed))
    return verdicts


def _weighed(
    board: Board, found: Evidence, shares: F64, is_free: Bools, taken: Sequence[int], own: int
) -> tuple[Weighed, ...]:
    """The candidates with the best evidence, whether they could be chosen or not."""
    best = np.argsort(-found.odds, kind="stable")[:SHOWN].tolist()
    elsewhere = {column: "elsewhere in this camera at the same time" for column in best if not is_free[column]}
    others = {column: "someone else in this camera at the same time" for column in taken if column != own}
    return tuple(_weigh(board, found, shares, column, (others | elsewhere).get(column)) for column in best)


def _weigh(board: Board, found: Evidence, shares: F64, column: int, constraint: str | None) -> Weighed:
    return Weighed(
        global_id=GlobalId(int(board.global_ids[column])),
        camera_id=board.camera_id(column),
        similarity=float(found.similarities[column]),
        look=float(found.looks[column]),
        gap_s=float(found.gaps_s[column]),
        transit=float(found.transits[column]),
        probability=float(shares[column]),
        constraint=constraint,
    )


def _joined(seen: Weighed, confidence: float) -> str:
    return (
        f"person {seen.global_id} seen in {seen.camera_id}: {seen.similarity:.2f} alike (log-odds {seen.look:+.1f}), "
        f"{seen.gap_s:.0f} s later ({seen.transit:+.1f}); {confidence:.0%} sure"
    )


def _opened(weighed: Sequence[Weighed], least: float) -> str:
    if not weighed:
        return "new: nobody known resembles this person"
    seen = weighed[0]
    reason = f"new: closest is person {seen.global_id} seen in {seen.camera_id}, {seen.similarity:.2f} alike"
    if seen.constraint is not None:
        return f"{reason}, who is {seen.constraint}"
    return f"{reason} (log-odds {seen.look:+.1f}), {seen.gap_s:.0f} s later ({seen.transit:+.1f}): {seen.probability:.0%} sure, {least:.0%} needed"  # fmt: skip
