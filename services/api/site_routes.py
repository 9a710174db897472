"""Over several sites: a person of one site is looked for at the others by looks alone."""

from __future__ import annotations

import base64
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from pydantic import AfterValidator, Base64Bytes, BaseModel, Field

from pipeline.audit import AuditAction
from pipeline.contracts import GlobalId, pack_vector, unpack_vector
from pipeline.search.people import Look
from services.api.asking import SearchOptions, ask_look, record_elsewhere
from services.api.dependencies import Dependencies
from services.api.other_sites import SiteReply, ask_sites
from services.api.replies import SearchReply

router = APIRouter(prefix="/api/v1", tags=["sites"])

_ROUNDING = 0.01  # of float16, with room
NOTE = (
    "Each site has identities of its own. These people look like the one you asked for; whether one of them is the "
    "same person is for you to judge."
)


def _of_unit_length(data: bytes) -> bytes:
    if len(data) % 2 or not abs(np.linalg.norm(unpack_vector(data)) - 1.0) < _ROUNDING:
        raise ValueError("expected the float16 numbers of a vector of unit length")
    return data


class LookReply(BaseModel):
    """How a person looks to a model; `vector` is little-endian float16 in base64."""

    model_digest: str
    vector: str


class LookQuestion(SearchOptions):
    """A look of another site, as `/identities/{global_id}/look` gives it."""

    model_digest: Annotated[str, Field(max_length=64)]
    vector: Annotated[Base64Bytes, Field(max_length=32_768), AfterValidator(_of_unit_length)]


class ElsewhereReply(BaseModel):
    """The answers of the other sites, and what they mean."""

    note: str
    sites: list[SiteReply]


@router.get("/identities/{global_id}/look")
def show_look(deps: Dependencies, global_id: int) -> LookReply:
    """How a person looks, to ask another site with."""
    look = deps.search.look(GlobalId(global_id))
    deps.record(AuditAction.EXPORT, f"the look of person {global_id}")
    return LookReply(model_digest=look.model_digest, vector=base64.b64encode(pack_vector(look.vector)).decode())


@router.post("/search/look")
def search_by_look(deps: Dependencies, question: LookQuestion) -> SearchReply:
    """People of this site who look like a person of another one."""
    return SearchReply.of(ask_look(deps, Look(question.model_digest, unpack_vector(question.vector)), question))


@router.get("/identities/{global_id}/elsewhere")
def search_elsewhere(deps: Dependencies, global_id: int, options: Annotated[SearchOptions, Query()]) -> ElsewhereReply:
    """People at the other sites (`api.other_sites`) who look like a person of this one. Cameras and clock times are
    those of each site."""
    record_elsewhere(deps, global_id, options)
    question = show_look(deps, global_id).model_dump() | options.model_dump()
    return ElsewhereReply(note=NOTE, sites=ask_sites(deps.other_sites, question))
