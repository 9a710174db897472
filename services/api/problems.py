"""Errors as the API tells them: what was found, what was expected, what to do. JSON for programs, a page for people."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from pipeline.adapters.standing_book import UnknownAlert, UnknownStandingQuery
from pipeline.errors import InvalidMessage, InvalidQuery, SightlineError, Unavailable
from pipeline.search.people import UnknownPerson
from services.api.callers import caller_of
from services.api.logins import TooManyLogins, WrongLogin
from services.api.pages import page
from services.api.rights import Foreign, NotAllowed
from services.corrections import UnknownTracklet
from services.operations import NotThere

log = logging.getLogger(__name__)

_SECRETS = frozenset({"password", "token"})


class Problem(BaseModel):
    """Why a request was not answered."""

    found: str
    expected: str
    to_do: str


class ProblemReply(BaseModel):
    """The body of every error."""

    error: Problem


class TooLarge(InvalidQuery):
    """An upload is over a limit."""


class Missing(InvalidQuery):
    """What the address names is not there."""


def problem_response(scope: Scope, status: int, problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The problem as a page where a browser asks for one, else as JSON."""
    if "text/html" in Headers(scope=scope).get("accept", "") and not scope["path"].startswith("/api/"):
        return page("problem.html", caller_of(scope), status, headers, problem=problem)
    return JSONResponse(ProblemReply(error=problem).model_dump(), status, headers)


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every error of the house, of validation and of routing with a `Problem`."""

    @app.exception_handler(SightlineError)
    def _(request: Request, error: SightlineError) -> Response:
        return problem_response(request.scope, status_of(error), problem_of(error))

    @app.exception_handler(RequestValidationError)
    def _(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = " ".join(str(part) for part in first["loc"])
        problem = Problem(
            found=f"{place}: {_shown(first)}",
            expected=first["msg"],
            to_do="correct the request; /api/v1/openapi.json describes every field",
        )
        return problem_response(request.scope, 422, problem)

    @app.exception_handler(HTTPException)
    def _(request: Request, error: HTTPException) -> Response:
        problem = Problem(
            found=f"{request.method} {request.url.path[:120]}: {error.detail}",
            expected="a smaller upload" if error.status_code == 413 else "a page or an endpoint that exists",
            to_do="start at /, or read /api/v1/openapi.json",
        )
        return problem_response(request.scope, error.status_code, problem, error.headers)

    @app.exception_handler(Exception)
    def _(request: Request, error: Exception) -> Response:
        # Starlette logs the traceback; the person who asked gets no inside of the system.
        problem = Problem(
            found=f"an error inside Sightline ({type(error).__name__})",
            expected="an answer",
            to_do="look into the log of the API; please report it if it comes again",
        )
        return problem_response(request.scope, 500, problem)


def _shown(error: Mapping[str, Any]) -> str:
    """What was sent, but no secret: neither a field of the login, nor a whole form that may hold one."""
    value = error.get("input")
    if isinstance(value, dict | list | bytes) or _SECRETS.intersection(map(str, error["loc"])):
        return f"({type(value).__name__})"
    return repr(str(value)[:80])


def status_of(error: SightlineError) -> int:
    """The HTTP status of an error of the house."""
    if isinstance(error, UnknownPerson | UnknownTracklet | UnknownAlert | UnknownStandingQuery | Missing | NotThere):
        return 404
    if isinstance(error, WrongLogin):
        return 401
    if isinstance(error, Foreign | NotAllowed):
        return 403
    if isinstance(error, TooLarge):
        return 413
    if isinstance(error, TooManyLogins):
        return 429
    if isinstance(error, InvalidQuery | InvalidMessage):
        return 422
    return 503 if isinstance(error, Unavailable) else 500


def problem_of(error: SightlineError) -> Problem:
    """The three parts of an error; other errors than `InvalidQuery` tell them in one sentence."""
    if isinstance(error, InvalidQuery):
        return Problem(found=error.found, expected=error.expected, to_do=error.to_do)
    if isinstance(error, InvalidMessage):
        return Problem(found=str(error), expected="values that the database can keep", to_do="correct the request")
    to_do = "try again in a moment" if isinstance(error, Unavailable) else "look into the log of the API"
    return Problem(found=str(error), expected="an answer", to_do=to_do)
