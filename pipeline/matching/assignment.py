"""Where it is decided that two sightings are one person. Pure: evidence in, verdicts out.

Three rules are hard: pieces of one track stay together, one person is not twice in one camera at once, and an identity
is joined only above the appearance threshold. What remains is solved jointly: people seen at the same moment in one
camera compete for the known identities, and "a new person" is always an option.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from pipeline.contracts import F32, F64, I64, CameraId, GlobalId, TrackletEmbedding, TrackletId, unpack_vector

Bools = npt.NDArray[np.bool_]
TrackKey = tuple[str, str, int]  # camera_id, boot_id, track_id: one person followed by one camera

# Similarities are compared after rounding: searching the same vectors in another order may change the last bits of a
# float32 product, and a restarted matcher must decide as the undisturbed one did.
SIMILARITY_DECIMALS = 4
_FORBIDDEN = -1e6  # outweighs any sum of similarities
_TIE = 1e-9  # below any difference of rounded similarities: equals go to the smaller number


@dataclass(frozen=True, slots=True)
class AssignmentConfig:
    """How sure is sure enough. The defaults suit no model in particular: take the bundle's calibration.

    The logistic curve turns a similarity into the probability that two tracklets show one person.
    """

    threshold: float = 0.62  # least similarity for joining a known identity
    midpoint: float = 0.62  # similarity at which "same" and "different" are equally likely
    slope: float = 20.0  # of the logistic curve, per unit of similarity
    track_confidence: float = 0.97  # that the tracker did not swap two people within one track

    def __post_init__(self) -> None:
        if not -1.0 <= self.threshold <= 1.0 or self.slope <= 0.0:
            raise ValueError(
                f"threshold {self.threshold}, slope {self.slope}; expected a cosine in [-1, 1] and a positive slope"
            )

    def probability(self, similarity: float) -> float:
        """Of one person, given the similarity of two tracklets."""
        return 1.0 / (1.0 + math.exp(-self.slope * (similarity - self.midpoint)))


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


@dataclass(frozen=True, slots=True)
class Candidates:
    """The known identities that the arrivals of a micro-batch may be, as columns.

    The similarity to an identity is the mean over its exemplars. The nearest exemplar alone would let two people grow
    together as soon as one tracklet of each looks alike: on Market-1501's validation identities the mean gives a
    cross-camera IDF1 of 0.67 where the nearest gives 0.57 (OSNet x0.25, each at its best threshold on these people).
    """

    global_ids: list[GlobalId]  # (C,) ascending
    camera_ids: list[str]  # (C,) where each was seen last
    exemplars: I64  # (C,) how many the mean is over
    similarities: F64  # (N, C) of arrivals and identities


@dataclass(frozen=True, slots=True)
class Verdict:
    """The identity of one arrival, and why."""

    global_id: GlobalId
    is_new: bool
    confidence: float  # 0 to 1
    reason: str


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


def assign(
    arrivals: Sequence[Arrival],
    standings: Sequence[Standing],
    candidates: Candidates,
    first_new_id: GlobalId,
    config: AssignmentConfig,
) -> list[Verdict]:
    """One verdict for each arrival; `arrivals` in the order of `arrivals_of`, `standings` beside them.

    Arrivals of known tracks come first, since they are certain; `candidates` must hold their identities. The others
    follow in time order, in groups of mutually exclusive arrivals; each group is solved jointly and sees what was
    decided before it. New identities are numbered upwards from `first_new_id`.
    """
    board = _Board(arrivals, candidates)
    verdicts: dict[int, Verdict] = {}
    for index, standing in enumerate(standings):
        if standing.bound_to is not None:
            verdicts[index] = _continued(arrivals[index], standing.bound_to, standing.present, config)
            board.join(index, standing.bound_to)
    next_id = first_new_id
    for group in _exclusive_groups(arrivals, skip=verdicts):
        present = [
            standings[index].present
            | {said.global_id for other, said in verdicts.items() if are_exclusive(arrivals[index], arrivals[other])}
            for index in group
        ]
        for index, verdict in zip(group, _solve(board, group, present, next_id, config), strict=True):
            verdicts[index] = verdict
            board.join(index, verdict.global_id)
            next_id = GlobalId(next_id + verdict.is_new)
    return [verdicts[index] for index in range(len(arrivals))]


def rounded(similarities: F32 | F64) -> F64:
    """Similarities as they are compared; see `SIMILARITY_DECIMALS`."""
    return np.asarray(similarities, np.float64).round(SIMILARITY_DECIMALS)


class _Board:
    """Similarities of all arrivals and identities, kept up to date while a micro-batch is decided."""

    def __init__(self, arrivals: Sequence[Arrival], candidates: Candidates) -> None:
        self.global_ids = list(candidates.global_ids)
        self.camera_ids = list(candidates.camera_ids)
        self._arrivals = arrivals
        vectors = np.stack([arrival.vector for arrival in arrivals]) if arrivals else np.zeros((0, 1), np.float32)
        self._among_arrivals = rounded(vectors @ vectors.T)
        known, room = len(self.global_ids), len(self.global_ids) + len(arrivals)
        self._sums = np.zeros((len(arrivals), room))
        self._sums[:, :known] = candidates.similarities * candidates.exemplars
        self._counts = np.zeros(room)
        self._counts[:known] = candidates.exemplars
        self._columns = {global_id: column for column, global_id in enumerate(self.global_ids)}

    def join(self, index: int, global_id: GlobalId) -> None:
        """The pieces of an arrival become exemplars of an identity, which may be a new one."""
        column = self._columns.setdefault(global_id, len(self.global_ids))
        if column == len(self.global_ids):
            self.global_ids.append(global_id)
            self.camera_ids.append("")
        pieces = len(self._arrivals[index].pieces)
        self.camera_ids[column] = self._arrivals[index].camera_id
        self._sums[:, column] += pieces * self._among_arrivals[:, index]
        self._counts[column] += pieces

    def similarities(self, group: Sequence[int]) -> F64:
        """(G, C) of some arrivals and all identities so far."""
        known = len(self.global_ids)
        return rounded(self._sums[group, :known] / self._counts[:known])


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


def _continued(
    arrival: Arrival, global_id: GlobalId, present: frozenset[GlobalId], config: AssignmentConfig
) -> Verdict:
    reason = f"track {arrival.track[2]} of {arrival.camera_id} is person {global_id}"
    if global_id in present:
        reason += ", although another track of this camera was taken for the same person at this time"
    return Verdict(global_id, False, config.track_confidence, reason)


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
    board: _Board,
    group: Sequence[int],
    present: Sequence[frozenset[GlobalId]],
    next_id: GlobalId,
    config: AssignmentConfig,
) -> list[Verdict]:
    """Verdicts for mutually exclusive arrivals, so that the sum of (similarity - threshold) is greatest.

    With a logistic calibration the log-odds are linear in the similarity, so this is the most probable joint answer
    once joining at the threshold and opening a new identity are held equally good.
    """
    similarities = board.similarities(group)  # (G, C)
    count, known = similarities.shape
    is_free = np.array([[one not in here for one in board.global_ids] for here in present], bool).reshape(count, known)
    gain = np.full((count, known + count), _FORBIDDEN)
    gain[np.arange(count), known + np.arange(count)] = 0.0
    # A join at exactly the threshold beats a new identity, and of equals the smaller number wins.
    preference = _TIE * np.arange(known, 0, -1)
    can_join = is_free & (similarities >= config.threshold)
    gain[:, :known] = np.where(can_join, similarities - config.threshold + preference, _FORBIDDEN)
    chosen = linear_sum_assignment(gain, maximize=True)[1]  # row numbers come in order
    verdicts = []
    for row, column in enumerate(chosen.tolist()):
        if column < known:
            verdicts.append(_joined(board, column, float(similarities[row, column]), config))
            continue
        is_open = is_free[row].copy()
        is_open[[other for other in chosen.tolist() if other < known]] = False
        verdicts.append(_opened(next_id, board, similarities[row], is_free[row], is_open, config))
        next_id = GlobalId(next_id + 1)
    return verdicts


def _joined(board: _Board, column: int, similarity: float, config: AssignmentConfig) -> Verdict:
    global_id, camera_id = board.global_ids[column], board.camera_ids[column]
    reason = f"{similarity:.2f} to person {global_id} seen in {camera_id}; threshold {config.threshold:.2f}"
    return Verdict(global_id, False, config.probability(similarity), reason)


def _opened(
    next_id: GlobalId, board: _Board, similarities: F64, is_free: Bools, is_open: Bools, config: AssignmentConfig
) -> Verdict:
    """`is_free`: not elsewhere in the picture; `is_open`: nor given to somebody else in the picture."""
    confidence = 1.0 - config.probability(float(similarities[is_open].max(initial=-1.0)))
    if not len(similarities):
        return Verdict(next_id, True, confidence, "new: nobody known resembles this person")
    closest = int(similarities.argmax())
    similarity, camera_id = float(similarities[closest]), board.camera_ids[closest]
    reason = f"new: closest is {similarity:.2f} to person {board.global_ids[closest]} seen in {camera_id}"
    if similarity < config.threshold:
        reason += f"; threshold {config.threshold:.2f}"
    elif not is_free[closest]:
        reason += ", who is elsewhere in this camera at the same time"
    else:
        reason += ", who is someone else in this camera at the same time"
    return Verdict(next_id, True, confidence, reason)
