"""The cameras: what each does now, and its newest picture."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from pipeline.contracts import NAME_PATTERN, CameraId
from services.api.dependencies import Dependencies
from services.api.pictures import CAMERA_PLACEHOLDER, jpeg_response
from services.api.replies import CameraReply

router = APIRouter(prefix="/api/v1", tags=["cameras"])


@router.get("/cameras")
def list_cameras(deps: Dependencies) -> list[CameraReply]:
    """Every camera that has reported, by name; addresses come without credentials."""
    return [CameraReply.of(view, deps.clock.now()) for view in deps.board.views()]


@router.get(
    "/cameras/{camera_id}/snapshot.jpg", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}}
)
def show_snapshot(
    request: Request,
    deps: Dependencies,
    camera_id: Annotated[str, Path(pattern=NAME_PATTERN)],
    reported_at: Annotated[
        float | None, Query(allow_inf_nan=False, description="The picture to which the boxes of that report belong")
    ] = None,
) -> Response:
    """The newest picture of a camera. Who is where in it says `in_view` of the camera."""
    jpeg = deps.board.snapshot(CameraId(camera_id), reported_at)
    return jpeg_response(request, jpeg, f"picture of {camera_id}", CAMERA_PLACEHOLDER, "no-store")
