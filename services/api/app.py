"""The application: routes by subject, the gate in front of them, and the page."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from services.api import (
    alert_routes,
    camera_routes,
    correction_routes,
    health_routes,
    page_routes,
    people_routes,
    search_routes,
    site_routes,
    standing_routes,
)
from services.api.access import AccessGate, require_token_off_localhost
from services.api.alert_feed import AlertFeed
from services.api.dependencies import ApiDependencies
from services.api.problems import ProblemReply, install_problem_handlers
from services.api.uploads import BodyLimit


def create_app(deps: ApiDependencies) -> FastAPI:
    """The API over `deps`. Raises `ConfigurationError` when it would be open to a network without a token."""
    require_token_off_localhost(deps.host, deps.token)
    app = FastAPI(
        title="Sightline",
        description="Ask for people in words, and see where else they were.",
        version="1",
        openapi_url="/api/v1/openapi.json",
        # The usual documentation pages load their scripts from elsewhere; this one must work without a network.
        docs_url=None,
        redoc_url=None,
        responses={422: {"model": ProblemReply}, 503: {"model": ProblemReply}},
    )
    app.state.dependencies = deps
    app.state.alert_feed = AlertFeed(deps.alerts.book, deps.clock)
    parts = (
        search_routes,
        people_routes,
        site_routes,
        correction_routes,
        standing_routes,
        alert_routes,
        camera_routes,
        health_routes,
        page_routes,
    )
    for routes in parts:
        app.include_router(routes.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    install_problem_handlers(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(AccessGate, token=deps.token)
    return app
