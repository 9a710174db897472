"""For supervisors and Prometheus: alive, ready, and the metrics."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from pipeline.errors import SightlineError
from services.api.dependencies import Dependencies
from services.api.replies import ReadyReply

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """This process answers. Asks nothing else, and needs no token."""
    return {"status": "ok"}


@router.get("/readyz", response_model=ReadyReply, responses={503: {"model": ReadyReply}})
def readyz(deps: Dependencies) -> Response:
    """Every part that a search needs, by name; 503 while one does not work."""
    parts = {}
    for name, check in deps.checks.items():
        try:
            check()
            parts[name] = "ok"
        except SightlineError as error:
            parts[name] = str(error)
    reply = ReadyReply(is_ready=all(state == "ok" for state in parts.values()), parts=parts)
    return JSONResponse(reply.model_dump(), 200 if reply.is_ready else 503)


@router.get("/metrics", response_class=Response)
def metrics() -> Response:
    """Prometheus metrics of this process."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
