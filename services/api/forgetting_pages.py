"""The pages of forgetting somebody: what would be removed, and the receipt of what was."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form
from pydantic import BaseModel
from starlette.responses import RedirectResponse, Response

from services.api.dependencies import Dependencies
from services.api.forgetting import asked_for, erase, known_receipt, rehearse
from services.api.pages import page
from services.api.replies import Numbered
from services.erasing import found_in_words, receipt_in_words

router = APIRouter(include_in_schema=False)


class ErasureForm(BaseModel):
    """Why a person is to be forgotten. The first form only asks what there is."""

    why: str = ""
    step: Literal["rehearse", "erase"] = "rehearse"


@router.post("/people/{global_id}/erase")
def erase_page(deps: Dependencies, global_id: int, form: Annotated[ErasureForm, Form()]) -> Response:
    """What would be removed of a person, with a form that does it; or that, and the receipt."""
    request = asked_for(deps, global_id, None, form.why)
    if form.step == "erase":
        return RedirectResponse(f"/erasures/{erase(deps, request).number}", status_code=303)
    found = rehearse(deps, request)
    return page("erase.html", deps.caller, global_id=global_id, why=form.why, found=found_in_words(found))


@router.get("/erasures/{number}")
def receipt_page(deps: Dependencies, number: Numbered) -> Response:
    """One receipt: how far the erasure has come, and at the end that nothing is left."""
    receipt = known_receipt(deps, number)
    return page(
        "erasure.html",
        deps.caller,
        receipt=receipt,
        state=receipt_in_words(receipt),
        now=deps.local_now(),
    )
