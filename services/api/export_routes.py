"""A person as a file: watermarked pictures with the route."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from pipeline.audit import AuditAction
from pipeline.contracts import GlobalId
from pipeline.decisions import MAX_NAME
from services.api.dependencies import Dependencies
from services.exporting import MAX_PICTURES, ExportRequest, audited, export_person

router = APIRouter(prefix="/api/v1", tags=["export"])


class ExportBody(BaseModel):
    """Who takes the pictures out; every one of them says so."""

    model_config = ConfigDict(extra="forbid")

    made_by: Annotated[
        str | None,
        Field(
            pattern=r"^[^\x00-\x1f]*\S[^\x00-\x1f]*$",
            max_length=MAX_NAME,
            description="As the caller says; of an account it is always its name",
        ),
    ] = None
    most_pictures: Annotated[int, Field(ge=1, le=MAX_PICTURES)] = 50
    with_heads: bool = False


@router.post(
    "/identities/{global_id}/export",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}},
)
def export_identity(deps: Dependencies, global_id: int, body: ExportBody) -> Response:
    """A ZIP of one person's route and best pictures, each with who took it and when; heads are concealed unless asked
    for."""
    person = deps.search.person(GlobalId(global_id))
    request = ExportRequest(deps.maker(body.made_by), deps.local_now(), deps.site, body.most_pictures, body.with_heads)
    deps.record(AuditAction.EXPORT, f"person {person.global_id}", audited(request))
    headers = {"Content-Disposition": f'attachment; filename="person-{person.global_id}.zip"'}
    return Response(export_person(person, deps.blobs.get, request), media_type="application/zip", headers=headers)
