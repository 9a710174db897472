"""Corrections of who is who, and why a tracklet belongs to its person.

A correction is kept, and applied by the matcher within seconds: what came of it is told by asking for it again.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from pipeline.adapters.explanations import Reasoned
from pipeline.contracts import GlobalId, TrackletId
from pipeline.decisions import MAX_NAME, MAX_NOTE, MAX_SPLIT_TRACKLETS, Correction, CorrectionKind, CorrectionRequest
from pipeline.decisions import Evidence as EvidenceReply
from services.api.correcting import add_correction, explain, known_correction, take_back
from services.api.dependencies import Dependencies
from services.api.words import iso_moment
from services.corrections import correction_in_words, explanation_in_words, state_in_words

router = APIRouter(prefix="/api/v1", tags=["corrections"])


class Maker(BaseModel):
    """Who makes a correction, and why; kept for ever."""

    model_config = ConfigDict(extra="forbid")

    made_by: Annotated[
        str | None,
        Field(min_length=1, max_length=MAX_NAME, description="As the caller says; of an account it is always its name"),
    ] = None
    note: Annotated[str, Field(max_length=MAX_NOTE)] = ""


class CorrectionBody(Maker):
    """Merge names two persons, of which the first stays; split a person and tracklets that are somebody else; same and
    not_same two tracklets."""

    kind: Literal["merge", "split", "same", "not_same"]
    global_ids: Annotated[list[int], Field(max_length=2)] = []
    tracklet_ids: Annotated[list[str], Field(max_length=MAX_SPLIT_TRACKLETS)] = []


class CorrectionReply(BaseModel):
    """One correction. `applied_at` is null until the matcher has seen it; `outcome` says what came of it."""

    number: int
    kind: CorrectionKind
    global_ids: list[int]
    tracklet_ids: list[str]
    undoes: int | None
    made_by: str
    made_at: float
    note: str
    applied_at: float | None
    outcome: str
    event_ids: list[int]
    undone_by: int | None
    summary: str

    @classmethod
    def of(cls, correction: Correction) -> CorrectionReply:
        request = correction.request
        return cls(
            number=correction.number,
            kind=request.kind,
            global_ids=list(request.global_ids),
            tracklet_ids=list(request.tracklet_ids),
            undoes=request.undoes,
            made_by=request.made_by,
            made_at=correction.made_at,
            note=request.note,
            applied_at=correction.applied_at,
            outcome=correction.outcome,
            event_ids=list(correction.event_ids),
            undone_by=correction.undone_by,
            summary=f"{correction_in_words(correction)}: {state_in_words(correction)}",
        )


class CorrectionsReply(BaseModel):
    """The newest corrections, newest first, of `total`."""

    total: int
    corrections: list[CorrectionReply]


class ChangeReply(BaseModel):
    """A decision about a tracklet, or a later change of it."""

    event_id: int
    kind: str
    decided_at: float
    global_id: int
    from_global_id: int | None
    is_tentative: bool
    confidence: float
    reason: str
    evidence: EvidenceReply | None

    @classmethod
    def of(cls, reasoned: Reasoned) -> ChangeReply:
        event = reasoned.event.model_dump(include=cls.model_fields.keys() - {"evidence"})
        return cls(evidence=reasoned.evidence, **event)


class ExplanationReply(BaseModel):
    """Why a tracklet belongs to its person: in sentences, and in numbers."""

    tracklet_id: str
    camera_id: str
    global_id: int | None
    summary: list[str]
    decision: ChangeReply | None
    changes: list[ChangeReply]
    corrections: list[int]  # that are law for it
    is_cut: bool  # more is known, of cameras or people that the caller may not see


@router.post("/corrections", status_code=202)
def correct(deps: Dependencies, body: CorrectionBody) -> CorrectionReply:
    """Say who is who. The matcher applies it within seconds."""
    request = CorrectionRequest(
        kind=CorrectionKind(body.kind),
        made_by=deps.maker(body.made_by),
        note=body.note,
        global_ids=tuple(GlobalId(number) for number in body.global_ids),
        tracklet_ids=tuple(TrackletId(name) for name in body.tracklet_ids),
    )
    return CorrectionReply.of(add_correction(deps, request))


@router.post("/corrections/{number}/undo", status_code=202)
def undo_correction(deps: Dependencies, number: int, body: Maker) -> CorrectionReply:
    """Take a correction back, as far as nothing has changed since."""
    return CorrectionReply.of(take_back(deps, number, body.made_by, body.note))


@router.get("/corrections")
def list_corrections(deps: Dependencies, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> CorrectionsReply:
    """Everything that was said about who is who, newest first."""
    newest = deps.corrections.corrections(limit)
    return CorrectionsReply(
        total=newest[0].number if newest else 0, corrections=[CorrectionReply.of(each) for each in newest]
    )


@router.get("/corrections/{number}")
def show_correction(deps: Dependencies, number: int) -> CorrectionReply:
    """One correction, and what came of it."""
    return CorrectionReply.of(known_correction(deps, number))


@router.get("/tracklets/{tracklet_id:path}/explanation")
def explain_tracklet(deps: Dependencies, tracklet_id: str) -> ExplanationReply:
    """Why a tracklet belongs to its person: candidates, evidence, constraints, and what changed since."""
    found = explain(deps, tracklet_id)
    return ExplanationReply(
        tracklet_id=found.tracklet.tracklet_id,
        camera_id=found.tracklet.camera_id,
        global_id=found.tracklet.global_id,
        summary=explanation_in_words(found, lambda at: iso_moment(at, deps.zone)),
        decision=found.decision and ChangeReply.of(found.decision),
        changes=[ChangeReply.of(change) for change in found.changes],
        corrections=[law.number for law in found.laws],
        is_cut=found.is_cut,
    )
