"""The page of what cameras show now. It is fresh when it is opened, and a script keeps it so."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from pipeline.audit import AuditAction
from pipeline.errors import Unavailable
from services.api.dependencies import ApiDependencies, Dependencies
from services.api.live_wall import CameraView
from services.api.pages import page

router = APIRouter(include_in_schema=False)


@router.get("/cameras")
def cameras_page(deps: Dependencies) -> Response:
    """The camera wall; that somebody opened it is recorded."""
    deps.record(AuditAction.VIEW, "the live cameras")
    views, trouble = _views(deps)
    return page("cameras.html", deps.caller, views=views, trouble=trouble, now=deps.local_now())


@router.get("/cameras/wall")
def wall_part(deps: Dependencies) -> Response:
    """The wall alone, for the script of the page that is open."""
    views, trouble = _views(deps)
    return page("_wall.html", deps.caller, views=views, trouble=trouble, now=deps.local_now())


def _views(deps: ApiDependencies) -> tuple[list[CameraView], str]:
    """The cameras by name, and why they cannot be told."""
    try:
        return deps.board.views(), ""
    except Unavailable as error:
        return [], str(error)
