"""Searching: by words, by a picture, by a known person."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from pipeline.decisions import MAX_NAME
from pipeline.search.wording import MAX_QUERY_CHARACTERS
from services.api.asking import SearchOptions, TextQuestion, ask_alike, ask_picture, ask_text, judge
from services.api.dependencies import Dependencies
from services.api.replies import SearchReply

router = APIRouter(prefix="/api/v1", tags=["search"])


class PictureQuestion(SearchOptions):
    """A picture of one person (JPEG, PNG or WebP, at most 8 MiB), with the options beside it in the form."""

    picture: UploadFile


class VerdictBody(BaseModel):
    """Whether a person fits a question. The last word on each two counts."""

    model_config = ConfigDict(extra="forbid")

    q: Annotated[str, Field(max_length=MAX_QUERY_CHARACTERS, description="The question, as it was asked")]
    global_id: int
    is_right: bool
    made_by: Annotated[
        str | None,
        Field(min_length=1, max_length=MAX_NAME, description="As the caller says; of an account it is always its name"),
    ] = None


class VerdictReply(BaseModel):
    """How many verdicts the confidence of this site rests on now, beside what was measured with the model."""

    verdicts: int


@router.get("/search")
def search_by_text(deps: Dependencies, question: Annotated[TextQuestion, Query()]) -> SearchReply:
    """People who fit a description."""
    return SearchReply.of(ask_text(deps, question.q, question))


@router.post("/search")
def search_by_long_text(deps: Dependencies, question: TextQuestion) -> SearchReply:
    """The same, with the question as a JSON body: nothing of it lands in the access logs of proxies."""
    return SearchReply.of(ask_text(deps, question.q, question))


@router.post("/search/image")
def search_by_picture(
    deps: Dependencies, question: Annotated[PictureQuestion, Form(media_type="multipart/form-data")]
) -> SearchReply:
    """People who look like the one in an uploaded picture."""
    return SearchReply.of(ask_picture(deps, question.picture.file.read(), question))


@router.get("/identities/{global_id}/similar")
def search_by_identity(deps: Dependencies, global_id: int, options: Annotated[SearchOptions, Query()]) -> SearchReply:
    """More like this: other people who look like a known one."""
    return SearchReply.of(ask_alike(deps, global_id, options))


@router.post("/search/verdicts")
def judge_answer(deps: Dependencies, body: VerdictBody) -> VerdictReply:
    """Say whether a person of an answer is right: from then on confidences are those of this site."""
    return VerdictReply(verdicts=judge(deps, body.q, body.global_id, body.is_right, body.made_by))
