"""The application: routes by subject, the gate in front of them, and the page."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from services.api import (
    alert_pages,
    alert_routes,
    camera_routes,
    correction_pages,
    correction_routes,
    export_routes,
    forgetting_pages,
    forgetting_routes,
    health_routes,
    live_routes,
    login_routes,
    operation_routes,
    people_routes,
    person_pages,
    search_pages,
    search_routes,
    site_routes,
    standing_routes,
)
from services.api.access import AccessGate
from services.api.alert_feed import AlertFeed
from services.api.callers import Admission
from services.api.dependencies import ApiDependencies
from services.api.exposure import require_login_off_localhost
from services.api.problems import ProblemReply, install_problem_handlers
from services.api.rights import check_rights, rights
from services.api.uploads import BodyLimit

PARTS = (
    search_routes,
    people_routes,
    site_routes,
    correction_routes,
    export_routes,
    forgetting_routes,
    standing_routes,
    alert_routes,
    camera_routes,
    login_routes,
    health_routes,
    search_pages,
    person_pages,
    correction_pages,
    forgetting_pages,
    live_routes,
    operation_routes,
    alert_pages,
)
# Once for all applications: putting the routes together takes longer than answering ten requests.
_ROUTES = APIRouter(
    dependencies=[Depends(check_rights)],
    responses={422: {"model": ProblemReply}, 503: {"model": ProblemReply}},
)
for _part in PARTS:
    _ROUTES.include_router(_part.router)


def create_app(deps: ApiDependencies) -> FastAPI:
    """The API over `deps`. Raises `ConfigurationError` when it would listen to a network and nobody could log in."""
    require_login_off_localhost(deps.host, bool(deps.token or deps.provider) or deps.accounts.has_accounts())
    table = rights(deps.open_metrics)
    admission = Admission(deps.accounts, deps.clock, deps.host, deps.token, deps.provider is not None)
    app = FastAPI(
        title="Sightline",
        description="Ask for people in words, and see where else they were.",
        version="1",
        openapi_url="/api/v1/openapi.json",
        # The usual documentation pages load their scripts from elsewhere; this one must work without a network.
        docs_url=None,
        redoc_url=None,
        routes=list(_ROUTES.routes),
    )
    app.state.dependencies = deps
    app.state.rights = table
    app.state.admission = admission
    app.state.alert_feed = AlertFeed(deps.alerts.book, deps.clock)
    # Only these are compressed: the length of a compressed page could betray the marks of its forms (BREACH).
    files = GZipMiddleware(StaticFiles(directory=Path(__file__).parent / "static"), minimum_size=500)
    app.mount("/static", files, name="static")
    install_problem_handlers(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(AccessGate, admission=admission, rights=table)
    return app
