"""The page of the cameras."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from services.api.dependencies import Dependencies
from services.api.pages import page
from services.api.search_pages import statuses

router = APIRouter(include_in_schema=False)


@router.get("/cameras")
def cameras_page(deps: Dependencies) -> Response:
    """The camera wall."""
    reported, trouble = statuses(deps)
    return page("cameras.html", deps.caller, statuses=reported, trouble=trouble, now=deps.local_now())
