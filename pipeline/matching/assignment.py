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
from scipy.optimize import linear_sum_assignment

from pipeline.contracts import F32, F64, CameraId, GlobalId, TrackletEmbedding, TrackletId, unpack_vector

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
    best_of: int = 1  # similarity to an identity: the mean over its this many most similar tracks
    track_confidence: float = 0.97  # that the tracker did not swap two people within one track

    def __post_init__(self) -> None:
        if not -1.0 <= self.threshold <= 1.0 or self.slope <= 0.0 or self.best_of < 1:
            raise ValueError(
                f"threshold {self.threshold}, slope {self.slope}, best_of {self.best_of}; "
                "expected a cosine in [-1, 1], a positive slope and at least one track"
            )

    def probability(self, similarity: float) -> float:
        """Of one person, given the similarity of two tracklets."""
        return 1.0 / (1.0 + math.exp(-self.slope * (similarity - self.midpoint)))


@dataclass(frozen=True, slots=True)
class Arrival:
    """The pieces of one track that came in one micro-batch; decided as one."""

    pieces: tuple[TrackletEmbedding, ...]  # in time order
    vector: F32  # (A,) unit length: the pieces' mean, weighted by quality

    @property
    def camera_id(self) -> CameraId:
        return CameraId(self.pieces[0].camera_id)

    @property
    def track(self) -> TrackKey:
        return track_of(self.pieces[0])

    @property
    def started_at(self) -> float:
        return self.pieces[0].started_at

    @property
    def ended_at(self) -> float:
        return max(piece.ended_at for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Resemblance:
    """One known tracklet that looks like an arrival."""

    global_id: GlobalId
    similarity: float
    track: TrackKey

    @property
    def camera_id(self) -> str:
        return self.track[0]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about one arrival before its micro-batch is decided."""

    bound_to: GlobalId | None  # the identity of earlier pieces of its track
    resemblances: tuple[Resemblance, ...]  # the nearest known tracklets
    present: frozenset[GlobalId]  # who was in the same camera at the same time, in other tracks


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
    is_together = a.started_at <= b.ended_at and b.started_at <= a.ended_at
    return is_together and a.camera_id == b.camera_id and a.track != b.track


def assign(
    arrivals: Sequence[Arrival], evidence: Sequence[Evidence], first_new_id: GlobalId, config: AssignmentConfig
) -> list[Verdict]:
    """One verdict for each arrival; `arrivals` in the order of `arrivals_of`, `evidence` beside them.

    Arrivals of known tracks come first, since they are certain. The others follow in time order, in groups of mutually
    exclusive arrivals; each group is solved jointly and sees what was decided before it. New identities are numbered
    upwards from `first_new_id`.
    """
    verdicts: dict[int, Verdict] = {}
    for index, known in enumerate(evidence):
        if known.bound_to is not None:
            verdicts[index] = _continued(arrivals[index], known.bound_to, known.present, config)
    vectors = np.stack([arrival.vector for arrival in arrivals]) if arrivals else np.zeros((0, 1), np.float32)
    similarities = rounded(vectors @ vectors.T)
    next_id = first_new_id
    for group in _exclusive_groups(arrivals, skip=verdicts):
        options = [_options(index, arrivals, evidence[index], similarities, verdicts, config) for index in group]
        for index, verdict in zip(group, _solve(options, next_id, config), strict=True):
            verdicts[index] = verdict
            next_id = GlobalId(next_id + verdict.is_new)
    return [verdicts[index] for index in range(len(arrivals))]


def rounded(similarities: F32) -> F64:
    """Similarities as they are compared; see `SIMILARITY_DECIMALS`."""
    return np.asarray(similarities, np.float64).round(SIMILARITY_DECIMALS)


@dataclass(frozen=True, slots=True)
class _Option:
    """One identity that an arrival may be."""

    similarity: float
    camera_id: str  # where the most similar tracklet was seen
    is_present: bool  # elsewhere in the same picture, so it cannot be this arrival


def _by_time(piece: TrackletEmbedding) -> tuple[float, TrackletId]:
    return piece.started_at, piece.tracklet_id


def _arrival(pieces: tuple[TrackletEmbedding, ...]) -> Arrival:
    vectors = np.stack([unpack_vector(piece.appearance) for piece in pieces])
    weights = np.array([piece.quality for piece in pieces], np.float32) + np.float32(1e-3)
    mean = weights @ vectors
    length = float(np.linalg.norm(mean))
    if length < 1e-3:  # opposite vectors cancel; the first piece speaks for the track
        mean, length = vectors[0], float(np.linalg.norm(vectors[0]))
    return Arrival(pieces, (mean / np.float32(length)).astype(np.float32))


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
        for index in waiting:
            if all(are_exclusive(arrivals[index], arrivals[other]) for other in group):
                group.append(index)
        waiting = [index for index in waiting if index not in group]
        yield group


def _options(
    index: int,
    arrivals: Sequence[Arrival],
    evidence: Evidence,
    similarities: F64,
    verdicts: Mapping[int, Verdict],
    config: AssignmentConfig,
) -> dict[GlobalId, _Option]:
    """The identities that resemble an arrival, from the gallery and from what this micro-batch decided so far."""
    present = set(evidence.present)
    resemblances = list(evidence.resemblances)
    for other, verdict in verdicts.items():
        resemblances.append(Resemblance(verdict.global_id, float(similarities[index, other]), arrivals[other].track))
        if are_exclusive(arrivals[index], arrivals[other]):
            present.add(verdict.global_id)
    by_identity: dict[GlobalId, dict[TrackKey, float]] = {}
    for seen in resemblances:
        tracks = by_identity.setdefault(seen.global_id, {})
        tracks[seen.track] = max(seen.similarity, tracks.get(seen.track, -1.0))
    return {
        global_id: _option(by_identity[global_id], global_id in present, config) for global_id in sorted(by_identity)
    }


def _option(tracks: Mapping[TrackKey, float], is_present: bool, config: AssignmentConfig) -> _Option:
    ranked = sorted(tracks.items(), key=lambda item: (-item[1], item[0]))[: config.best_of]
    similarity = sum(similarity for _, similarity in ranked) / len(ranked)
    return _Option(similarity, ranked[0][0][0], is_present)


def _solve(
    options: Sequence[Mapping[GlobalId, _Option]], next_id: GlobalId, config: AssignmentConfig
) -> Iterator[Verdict]:
    """Verdicts for mutually exclusive arrivals, so that the sum of (similarity - threshold) is greatest.

    With a logistic calibration the log-odds are linear in the similarity, so this is the most probable joint answer
    once joining at the threshold and opening a new identity are held equally good.
    """
    identities = sorted({global_id for each in options for global_id in each})
    column = {global_id: place for place, global_id in enumerate(identities)}
    gain = np.full((len(options), len(identities) + len(options)), _FORBIDDEN)
    for row, each in enumerate(options):
        gain[row, len(identities) + row] = 0.0
        for global_id, option in each.items():
            if option.similarity >= config.threshold and not option.is_present:
                # A join at exactly the threshold beats a new identity, hence the one tie more.
                place = column[global_id]
                gain[row, place] = option.similarity - config.threshold + _TIE * (len(identities) - place)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    chosen = {int(row): identities[place] for row, place in zip(rows, columns, strict=True) if place < len(identities)}
    for row, each in enumerate(options):
        if row in chosen:
            yield _joined(chosen[row], each[chosen[row]], config)
        else:
            yield _opened(next_id, each, taken=set(chosen.values()), config=config)
            next_id = GlobalId(next_id + 1)


def _joined(global_id: GlobalId, option: _Option, config: AssignmentConfig) -> Verdict:
    reason = (
        f"{option.similarity:.2f} to person {global_id} seen in {option.camera_id}; threshold {config.threshold:.2f}"
    )
    return Verdict(global_id, False, config.probability(option.similarity), reason)


def _opened(
    next_id: GlobalId, options: Mapping[GlobalId, _Option], taken: set[GlobalId], config: AssignmentConfig
) -> Verdict:
    free = [option for number, option in options.items() if number not in taken and not option.is_present]
    closest_free = max((option.similarity for option in free), default=-1.0)
    confidence = 1.0 - config.probability(closest_free)
    if not options:
        return Verdict(next_id, True, confidence, "new: nobody known resembles this person")
    global_id, closest = max(options.items(), key=lambda item: (item[1].similarity, -item[0]))
    reason = f"new: closest is {closest.similarity:.2f} to person {global_id} seen in {closest.camera_id}"
    if closest.similarity < config.threshold:
        reason += f"; threshold {config.threshold:.2f}"
    elif closest.is_present:
        reason += ", who is elsewhere in this camera at the same time"
    else:
        reason += ", who is someone else in this camera at the same time"
    return Verdict(next_id, True, confidence, reason)
