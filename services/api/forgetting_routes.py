"""Whom to forget, the receipts of those who are, and how long everything else is kept."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from pipeline.audit import AuditAction
from pipeline.contracts import GlobalId
from pipeline.decisions import MAX_NAME
from pipeline.forgetting import MAX_WHY, ErasureRequest, Found, Kind, Receipt
from services.api.dependencies import Dependencies
from services.api.problems import Missing
from services.erasing import audited, found_in_words, receipt_in_words, request_erasure

router = APIRouter(prefix="/api/v1", tags=["forgetting"])


class ErasureBody(BaseModel):
    """Whom to forget. The reason stays on the receipt: a file number, and no name."""

    model_config = ConfigDict(extra="forbid")

    global_id: int
    made_by: Annotated[
        str | None,
        Field(min_length=1, max_length=MAX_NAME, description="As the caller says; of an account it is always its name"),
    ] = None
    why: Annotated[str, Field(min_length=1, max_length=MAX_WHY)]
    dry_run: bool = False


class ErasureReply(BaseModel):
    """What would be removed, and, unless that was all that was asked for, the receipt as far as it has come."""

    expected: Found
    receipt: Receipt | None
    summary: str

    @classmethod
    def of(cls, receipt: Receipt) -> ErasureReply:
        return cls(expected=receipt.expected, receipt=receipt, summary=receipt_in_words(receipt))


class KeptReply(BaseModel):
    """One kind of things of one camera. `days` is null for ever; the moments are UTC seconds, and null for none."""

    camera_id: str
    kind: Kind
    days: float | None
    kept_from: float | None
    oldest_at: float | None


@router.post("/erasures", status_code=202)
def erase_person(deps: Dependencies, body: ErasureBody) -> ErasureReply:
    """Forget a person everywhere and for good, or only say what that would remove."""
    request = ErasureRequest(GlobalId(body.global_id), deps.maker(body.made_by), body.why)
    expected = deps.forgetting.rehearse_erasure(request.global_id)
    deps.record(AuditAction.ERASURE, f"person {request.global_id}", audited(request, body.dry_run))
    if body.dry_run:
        told = f"nothing was removed; there are {found_in_words(expected)}"
        return ErasureReply(expected=expected, receipt=None, summary=told)
    return ErasureReply.of(request_erasure(deps.forgetting, request, expected, deps.clock.now()))


@router.get("/erasures")
def list_erasures(deps: Dependencies, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[ErasureReply]:
    """The receipts, newest first."""
    return [ErasureReply.of(each) for each in deps.forgetting.receipts(limit)]


@router.get("/erasures/{number}")
def show_erasure(deps: Dependencies, number: int) -> ErasureReply:
    """One receipt: what was removed, and whether anything is left."""
    found = deps.forgetting.receipt(number)
    if found is None:
        raise Missing(f"there is no erasure {number}", "the number of one that was asked for", "look at the list")
    return ErasureReply.of(found)


@router.get("/retention")
def show_retention(deps: Dependencies) -> list[KeptReply]:
    """How long each kind is kept of each camera, and how old the oldest is that is still there."""
    return [
        KeptReply(
            camera_id=each.camera_id,
            kind=each.kind,
            days=deps.keeping(each.camera_id).days(each.kind),
            kept_from=each.kept_from,
            oldest_at=each.began_at,
        )
        for each in deps.forgetting.oldest(deps.forgetting.seen_cameras())
    ]
