"""The page of the cameras."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from pipeline.contracts import CameraStatus
from pipeline.errors import Unavailable
from services.api.dependencies import ApiDependencies, Dependencies
from services.api.pages import page

router = APIRouter(include_in_schema=False)


@router.get("/cameras")
def cameras_page(deps: Dependencies) -> Response:
    """The camera wall."""
    reported, trouble = statuses(deps)
    return page("cameras.html", deps.caller, statuses=reported, trouble=trouble, now=deps.local_now())


def statuses(deps: ApiDependencies) -> tuple[list[CameraStatus], str]:
    """The cameras by name, and why they cannot be told."""
    try:
        return sorted(deps.board.statuses(), key=lambda status: status.camera_id), ""
    except Unavailable as error:
        return [], str(error)
