"""Whom to forget, the receipts of those who are, and how long everything else is kept."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from pipeline.decisions import MAX_NAME
from pipeline.forgetting import MAX_WHY, Found, Kind, Receipt
from services.api.dependencies import Dependencies
from services.api.forgetting import asked_for, erase, known_receipt, rehearse
from services.erasing import found_in_words, receipt_in_words

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
    request = asked_for(deps, body.global_id, body.made_by, body.why)
    if body.dry_run:
        expected = rehearse(deps, request)
        told = f"nothing was removed; there are {found_in_words(expected)}"
        return ErasureReply(expected=expected, receipt=None, summary=told)
    return ErasureReply.of(erase(deps, request))


@router.get("/erasures")
def list_erasures(deps: Dependencies, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[ErasureReply]:
    """The receipts, newest first."""
    return [ErasureReply.of(each) for each in deps.forgetting.receipts(limit)]


@router.get("/erasures/{number}")
def show_erasure(deps: Dependencies, number: int) -> ErasureReply:
    """One receipt: what was removed, and whether anything is left."""
    return ErasureReply.of(known_receipt(deps, number))


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
