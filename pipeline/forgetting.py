"""What is forgotten: people who are erased, and everything that has been kept long enough. Values and pure rules."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from pipeline.contracts import CameraId, GlobalId, TrackletId, tracklet_parts
from pipeline.decisions import MAX_NAME, Correction, CorrectionKind
from pipeline.errors import InvalidQuery

MAX_WHY = 200
DAY_S = 86_400.0
_LONGEST_STEP_S = 3600.0
_STEPS = 24  # in which the time of a short retention passes


# --- how long ------------------------------


class Kind(StrEnum):
    """What has a time of its own. The order is that of going: vectors never outlive pixels, nor these the sighting."""

    VECTORS = "vectors"
    CROPS = "crops"
    EVENTS = "events"  # with the sightings that they are about


@dataclass(frozen=True, slots=True)
class Keeping:
    """For how many days each kind is kept of one camera; None: for ever.

    Raises `ValueError` where vectors would outlive their crops, or crops the sighting that they belong to.
    """

    vectors_days: float | None
    crops_days: float | None
    events_days: float | None

    def __post_init__(self) -> None:
        vectors, crops, events = (math.inf if days is None else days for days in self._in_order())
        if not 0 < vectors <= crops <= events:
            raise ValueError(
                f"vectors are kept for {vectors:g} days, crops for {crops:g} and events for {events:g}; expected no "
                "kind to be kept longer than the next: shorten the first or lengthen the last"
            )

    def days(self, kind: Kind) -> float | None:
        return dict(zip(Kind, self._in_order(), strict=True))[kind]

    def _in_order(self) -> tuple[float | None, ...]:
        return self.vectors_days, self.crops_days, self.events_days


Cutoffs = Mapping[Kind, float]  # nothing of a kind is kept that began before (UTC seconds)


def cutoffs(keeping: Keeping, now: float) -> dict[Kind, float]:
    """From when on each kind is kept. They move in steps, so that caches need not follow every second: a thing goes up
    to one step early, and never late."""
    return {kind: _cutoff(days, now) for kind in Kind if (days := keeping.days(kind)) is not None}


def _cutoff(days: float, now: float) -> float:
    step_s = min(_LONGEST_STEP_S, days * DAY_S / _STEPS)
    return math.ceil((now - days * DAY_S) / step_s) * step_s


@dataclass(frozen=True, slots=True)
class Oldest:
    """The state of one kind of one camera."""

    camera_id: CameraId
    kind: Kind
    kept_from: float | None  # nothing that began before is given out; None: everything is kept
    began_at: float | None  # of the oldest that is still there; None: nothing is


# --- erasure ------------------------------


class Found(BaseModel):
    """How much there is, or was, of a person. Numbers alone, so it may be kept for ever."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    tracklets: int = 0
    crops: int = 0
    vectors: int = 0
    events: int = 0
    corrections: int = 0
    verdicts: int = 0
    alerts: int = 0


class Followed(BaseModel):
    """What was removed elsewhere after the database had forgotten a person."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    blobs: int = 0
    messages: int = 0  # on the bus and among its dead letters
    mentions: int = 0  # of the number in the evidence about other people

    def __add__(self, other: Followed) -> Followed:
        return Followed(
            blobs=self.blobs + other.blobs,
            messages=self.messages + other.messages,
            mentions=self.mentions + other.mentions,
        )


class Left(BaseModel):
    """What a search for an erased person still finds: all zero, or the erasure is not over."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    tracklets: int = 0  # of the number, or of a track that was erased
    blobs: int = 0
    messages: int = 0
    mentions: int = 0
    training_sets: int = 0
    backups: int = 0  # looked for when all the rest is gone, since the next one must be without it

    @property
    def is_nothing(self) -> bool:
        return not any(self.model_dump().values())

    @property
    def is_only_in_backups(self) -> bool:
        return self.backups > 0 and not any(self.model_dump(exclude={"backups"}).values())


@dataclass(frozen=True, slots=True)
class ErasureRequest:
    """Whom to forget, on whose word and why. Raises `InvalidQuery` for a name or a reason that is empty or too long."""

    global_id: GlobalId
    made_by: str
    why: str

    def __post_init__(self) -> None:
        if not 0 < len(self.made_by.strip()) <= MAX_NAME or not 0 < len(self.why.strip()) <= MAX_WHY:
            raise InvalidQuery(
                f"an erasure by {self.made_by[:MAX_NAME]!r} with a reason of {len(self.why)} characters",
                f"a name of 1 to {MAX_NAME} characters and a reason of 1 to {MAX_WHY}",
                "say who asks and why, by a file number; the reason stays on the receipt, so name nobody in it",
            )


class Receipt(BaseModel):
    """One erasure, from the request on: all that is kept of it. No name, picture, vector, place or time of somebody."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    number: int
    global_id: int  # as it was asked for
    made_by: str
    why: str
    made_at: float
    expected: Found  # when it was asked for
    erased_at: float | None = None  # when the database forgot; None: the matcher has not seen it yet
    global_ids: tuple[int, ...] = ()  # all numbers that the person had
    removed: Found | None = None
    followed: Followed = Field(default_factory=Followed)
    finished_at: float | None = None  # when nothing was left anywhere
    left: Left | None = None  # at the last search for what is left

    @property
    def is_gone(self) -> bool:
        """Whether nothing is left but in backups that were made before: the next one has nothing of the person."""
        return self.finished_at is not None or (self.left is not None and self.left.is_only_in_backups)


@dataclass(frozen=True, slots=True)
class Span:
    """Pieces of one track, by sequence, both ends included; no last one: all that follow."""

    track: str
    first: int
    last: int | None

    def holds(self, sequence: int) -> bool:
        return self.first <= sequence and (self.last is None or sequence <= self.last)


def erased_spans(track: str, pieces: Iterable[tuple[int, bool]]) -> list[Span]:
    """Which pieces of a track go with a person who is erased. `pieces` tells of the known ones whether they do.

    What lies between two pieces, and may still come, goes with the one before it; what comes before the first goes
    with the first. So somebody who is in view meanwhile is not begun anew, while those whom a correction found in the
    same track live on.
    """
    spans: list[Span] = []
    first: int | None = None
    for place, (sequence, is_erased) in enumerate(sorted(pieces)):
        if is_erased and first is None:
            first = sequence if place else 0
        elif not is_erased and first is not None:
            spans.append(Span(track, first, sequence - 1))
            first = None
    return spans if first is None else [*spans, Span(track, first, None)]


def track_of(tracklet_id: TrackletId) -> str:
    """The name of the track that a tracklet is a piece of."""
    return tracklet_id.rpartition("/")[0]


def sequence_of(tracklet_id: TrackletId) -> int:
    return tracklet_parts(tracklet_id)[3]


def track_mark(track: str) -> str:
    """By which an erased track is known again, and which tells neither its camera nor its time."""
    return hashlib.sha256(f"sightline erased track {track}".encode()).hexdigest()


def without(
    correction: Correction, tracklet_ids: Collection[TrackletId], global_ids: Collection[int] = ()
) -> Correction | None:
    """A correction that tells no more of some tracklets and persons; itself where it never did, and None where nothing
    of it is left: whoever it bound or parted is gone.

    What stays is law as before, for those who live on. The note goes, because it may say a name.
    """
    request = correction.request
    told = {*request.tracklet_ids, *correction.one_side, *correction.other_side}
    if told.isdisjoint(tracklet_ids) and set(request.global_ids).isdisjoint(global_ids):
        return correction
    named, one, other = (
        tuple(name for name in names if name not in tracklet_ids)
        for names in (request.tracklet_ids, correction.one_side, correction.other_side)
    )
    if request.kind in (CorrectionKind.MERGE, CorrectionKind.SAME):
        is_law = len({*one, *other}) > 1
    else:
        is_law = bool(one and other)
    is_said = len(named) == len(request.tracklet_ids) or (request.kind is CorrectionKind.SPLIT and bool(named))
    if not (is_law and is_said):
        return None
    said = replace(request, tracklet_ids=named, note="")
    return replace(
        correction, request=said, one_side=one, other_side=other, outcome="part of whom it was about is gone"
    )
