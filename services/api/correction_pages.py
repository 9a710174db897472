"""The pages of corrections: what was said about who is who, what came of it, taking it back; and why it was thought."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from pydantic import BaseModel, Field
from starlette.responses import RedirectResponse, Response

from pipeline.contracts import GlobalId
from pipeline.decisions import MAX_NOTE, Correction
from services.api.correcting import explain, known_correction, take_back
from services.api.dependencies import ApiDependencies, Dependencies
from services.api.pages import page
from services.api.plain_reasons import plain_reasons
from services.api.words import moment_in_words

router = APIRouter(include_in_schema=False)

NEWEST = 100
_TRACKLETS_FOLLOWED = 2  # of one correction, to where they are now


class UndoForm(BaseModel):
    """Why a correction was wrong."""

    note: Annotated[str, Field(max_length=MAX_NOTE)] = ""


@router.get("/corrections")
def corrections_page(deps: Dependencies) -> Response:
    """The newest corrections."""
    newest = deps.corrections.corrections(NEWEST)
    return page("corrections.html", deps.caller, corrections=newest, most=NEWEST, now=deps.local_now())


@router.get("/corrections/{number}")
def correction_page(deps: Dependencies, number: int) -> Response:
    """One correction: it waits for the matcher, then tells what came of it."""
    correction = known_correction(deps, number)
    return page(
        "correction.html",
        deps.caller,
        correction=correction,
        people=_people_of(deps, correction),
        now=deps.local_now(),
    )


@router.post("/corrections/{number}/undo")
def undo_page(deps: Dependencies, number: int, form: Annotated[UndoForm, Form()]) -> Response:
    """Take a correction back, and show what comes of that."""
    return RedirectResponse(f"/corrections/{take_back(deps, number, None, form.note).number}", status_code=303)


@router.get("/tracklets/{tracklet_id:path}/why")
def why_page(deps: Dependencies, tracklet_id: str) -> Response:
    """Why a tracklet belongs to its person, in plain sentences."""
    found, now = explain(deps, tracklet_id), deps.local_now()
    sentences = plain_reasons(found, lambda at: moment_in_words(at, now))
    return page("why.html", deps.caller, tracklet=found.tracklet, sentences=sentences, now=now)


def _people_of(deps: ApiDependencies, correction: Correction) -> list[GlobalId]:
    """Whom a correction is about: those it names, and those to whom its tracklets belong by now."""
    request = correction.request
    if request.undoes is not None:
        return _people_of(deps, known_correction(deps, request.undoes))
    whose = [deps.explanations.explanation(name) for name in request.tracklet_ids[:_TRACKLETS_FOLLOWED]]
    now_of = [found.tracklet.global_id for found in whose if found is not None and found.tracklet.global_id is not None]
    return sorted({*request.global_ids, *now_of})
