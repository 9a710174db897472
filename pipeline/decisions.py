"""What is decided about who is who, and on what grounds: decisions, revisions of them, and corrections by people.

All are values inside a process; `Evidence` is also kept in the database, beside the event that it led to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from pipeline.contracts import Finite, GlobalId, IdentityEventKind, Share, TrackletEmbedding, TrackletId
from pipeline.errors import InvalidQuery

MAX_CANDIDATES = 5
MAX_SPLIT_TRACKLETS = 10_000
MAX_NAME = 64
MAX_NOTE = 200
NOBODY_YET = "new: nobody is known yet"  # the reason for the first person of a site


# What is kept of millions of decisions: four decimals say enough.
Kept = PlainSerializer(lambda value: round(value, 4), float, when_used="json")
Term = Annotated[Finite, Kept]
Probability = Annotated[Share, Kept]


class CandidateEvidence(BaseModel):
    """What spoke for and against one known identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    global_id: int
    camera_id: str  # where it was seen last
    similarity: Term  # of appearance
    appearance_log_odds: Term  # natural logarithm, for one person and against two
    gap_s: Term | None = None  # from its last sighting to this tracklet; None: no time is known
    transit_log_odds: Term = 0.0  # 0 where nothing is known about the way
    probability: Probability
    constraint: str | None = None  # why it could not be this person, whatever the evidence


class Evidence(BaseModel):
    """Why a tracklet got its identity, or two identities became one, or one two. The database keeps it rounded."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    calibration: int  # number of the calibration by which similarities became log-odds
    candidates: Annotated[tuple[CandidateEvidence, ...], Field(max_length=MAX_CANDIDATES)]  # most probable first
    new_probability: Probability  # of somebody who was never seen
    threshold: Probability  # least probability for joining a known identity


@dataclass(frozen=True, slots=True)
class Decision:
    """What the matcher decided about one tracklet."""

    embedding: TrackletEmbedding
    global_id: GlobalId
    is_new: bool
    confidence: float  # 0 to 1
    reason: str
    is_tentative: bool = False  # later evidence may well change it
    evidence: Evidence | None = None

    @property
    def newness(self) -> float:
        """How probably the person had never been seen before."""
        return self.evidence.new_probability if self.evidence is not None else float(self.is_new)

    @property
    def likeliest(self) -> float:
        """How probably she was the likeliest of those seen before."""
        if self.evidence is None:
            return self.confidence * (not self.is_new)
        return max((seen.probability for seen in self.evidence.candidates), default=0.0)


@dataclass(frozen=True, slots=True)
class Revision:
    """A change of published identities: one person's tracklets are another's from now on.

    MERGED moves whatever `from_id` has, and names no tracklets; SPLIT moves those it names. A person whose last
    tracklet has gone lives on as the one to whom it went. `is_new`: `to_id` is opened by this.
    """

    kind: IdentityEventKind
    from_id: GlobalId
    to_id: GlobalId
    confidence: float  # 0 to 1
    reason: str
    tracklet_ids: tuple[TrackletId, ...] = ()
    is_new: bool = False
    evidence: Evidence | None = None

    def __post_init__(self) -> None:
        is_split = self.kind is IdentityEventKind.SPLIT
        if self.from_id == self.to_id or is_split != bool(self.tracklet_ids) or (self.is_new and not is_split):
            raise ValueError(
                f"{self.kind} of {len(self.tracklet_ids)} named tracklets from {self.from_id} to {self.to_id} (new: "
                f"{self.is_new}); expected two numbers, tracklets for a split and none for a merge"
            )


# --- corrections ------------------------------


class CorrectionKind(StrEnum):
    MERGE = "merge"  # two identities are one person: the first stays
    SPLIT = "split"  # these tracklets are somebody else
    SAME = "same"  # two tracklets show one person
    NOT_SAME = "not_same"  # two tracklets show two people
    UNDO = "undo"  # an earlier correction was wrong


_NAMED = {  # kind → least and greatest number of identities and of tracklets
    CorrectionKind.MERGE: ((2, 2), (0, 0)),
    CorrectionKind.SPLIT: ((1, 1), (1, MAX_SPLIT_TRACKLETS)),
    CorrectionKind.SAME: ((0, 0), (2, 2)),
    CorrectionKind.NOT_SAME: ((0, 0), (2, 2)),
    CorrectionKind.UNDO: ((0, 0), (0, 0)),
}


@dataclass(frozen=True, slots=True)
class CorrectionRequest:
    """What somebody says about who is who. Raises `InvalidQuery` when it names too few or too many."""

    kind: CorrectionKind
    made_by: str
    note: str = ""
    global_ids: tuple[GlobalId, ...] = ()
    tracklet_ids: tuple[TrackletId, ...] = ()
    undoes: int | None = None  # number of a correction

    def __post_init__(self) -> None:
        for noun, named, (least, most) in zip(
            ("persons", "tracklets"), (self.global_ids, self.tracklet_ids), _NAMED[self.kind], strict=True
        ):
            if not least <= len(named) <= most or len(set(named)) < len(named):
                expected = f"{least}" if least == most else f"{least} to {most}"
                raise InvalidQuery(
                    f"a correction {self.kind.value!r} with {len(set(named))} different {noun}",
                    f"{expected} of them",
                    "see `sightline correct --help`",
                )
        if (self.undoes is not None) != (self.kind is CorrectionKind.UNDO):
            raise InvalidQuery(
                f"a correction {self.kind.value!r} that undoes {self.undoes}",
                "the number of a correction with undo, and with nothing else",
                "see `sightline correct --help`",
            )
        if not 0 < len(self.made_by.strip()) <= MAX_NAME or len(self.note) > MAX_NOTE:
            raise InvalidQuery(
                f"a correction by {self.made_by[:MAX_NAME]!r} with a note of {len(self.note)} characters",
                f"a name of 1 to {MAX_NAME} characters, and a note of at most {MAX_NOTE}",
                "say who makes the correction, and be brief",
            )


@dataclass(frozen=True, slots=True)
class Correction:
    """A correction as it is kept: who said what and when, and what came of it.

    Once applied it is law until undone. Of `merge` and `same` no tracklet of either side may be parted from the others;
    of `split` and `not_same` no tracklet of one side may share an identity with one of the other.
    """

    number: int  # from 1
    request: CorrectionRequest
    made_at: float  # UTC seconds
    after_event: int  # the last identity event when it was made
    applied_at: float | None = None  # by the matcher
    outcome: str = ""  # what came of it, in words
    event_ids: tuple[int, ...] = ()  # of the revisions that it led to
    one_side: tuple[TrackletId, ...] = ()
    other_side: tuple[TrackletId, ...] = ()
    undone_by: int | None = None  # number of a correction


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a correction; the store writes it together with the revisions. See `Correction`."""

    number: int
    outcome: str
    one_side: tuple[TrackletId, ...] = ()
    other_side: tuple[TrackletId, ...] = ()
    undoes: int | None = None  # number of the correction that is law no more


@dataclass(frozen=True, slots=True)
class WhoIsWho:
    """At one moment: who some identities are now, and all their tracklets."""

    current: Mapping[GlobalId, GlobalId]  # of each that was asked for and is known: itself, or whom it lives on as
    identity: Mapping[TrackletId, GlobalId]  # of every tracklet of them, in the order of decisions
    assigned_event: Mapping[TrackletId, int]  # of the same tracklets
    next_id: GlobalId  # for a new person
