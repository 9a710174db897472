"""The page of what cameras show now. It is fresh when it is opened, and a script keeps it so."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from pipeline.audit import AuditAction
from services.api.dependencies import Dependencies
from services.api.live_wall import shown_by
from services.api.pages import page

router = APIRouter(include_in_schema=False)


@router.get("/cameras")
def cameras_page(deps: Dependencies) -> Response:
    """The camera wall; that somebody opened it is recorded."""
    deps.record(AuditAction.VIEW, "the live cameras")
    views, trouble = shown_by(deps.board)
    return page("cameras.html", deps.caller, views=views, trouble=trouble, now=deps.local_now())


@router.get("/cameras/wall")
def wall_part(deps: Dependencies) -> Response:
    """The wall alone, for the script of the page that is open."""
    views, trouble = shown_by(deps.board)
    return page("_wall.html", deps.caller, views=views, trouble=trouble, now=deps.local_now())
