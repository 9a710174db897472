"""Logging in and out, and who one is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from pydantic import BaseModel
from starlette.responses import RedirectResponse, Response

from pipeline.accounts import Role
from services.api.callers import SESSION_COOKIE
from services.api.dependencies import ApiDependencies, Dependencies
from services.api.logins import LoginDesk, TooManyLogins, WrongLogin, network_of, own_path
from services.api.oidc import Begun, IdentityProvider
from services.api.pages import page
from services.api.problems import Missing, status_of

router = APIRouter()

_BEGUN_COOKIE = "sightline_login"
_BEGUN_S = 600
_TYPED = 1000


class MeReply(BaseModel):
    """Who is calling. `cameras` are those whose people they may see; null for all."""

    name: str
    role: Role
    cameras: list[str] | None


class LoginForm(BaseModel):
    """The form as it is sent: name and password, or the token of the settings."""

    name: Annotated[str, Form(max_length=_TYPED)] = ""
    password: Annotated[str, Form(max_length=_TYPED)] = ""
    token: Annotated[str, Form(max_length=_TYPED)] = ""
    next: Annotated[str, Form(max_length=_TYPED)] = "/"


@router.get("/api/v1/me", tags=["access"])
def show_me(deps: Dependencies) -> MeReply:
    """Who the token, or the login, stands for."""
    seen = deps.who.camera_ids
    cameras = None if seen is None else [str(camera) for camera in sorted(seen)]
    return MeReply(name=deps.who.name, role=deps.who.role, cameras=cameras)


@router.get("/login", include_in_schema=False)
def login_page(deps: Dependencies, wanted: Annotated[str, Query(alias="next")] = "/") -> Response:
    return _login_page(deps, wanted)


@router.post("/login", include_in_schema=False)
def log_in(deps: Dependencies, request: Request, form: Annotated[LoginForm, Form()]) -> Response:
    """Exchange name and password, or the token, for a cookie that scripts cannot read and other sites cannot use."""
    desk, address = _desk(deps), _address(request)
    try:
        if form.token:
            session = desk.by_token(form.token.strip(), address)
        else:
            session = desk.by_password(form.name.strip(), form.password, address)
    except (WrongLogin, TooManyLogins) as error:
        return _login_page(deps, form.next, error)
    return _logged_in(deps, request, session, form.next)


@router.post("/logout", include_in_schema=False)
def log_out(deps: Dependencies) -> Response:
    """End this session, here and in the database."""
    _desk(deps).log_out(deps.who)
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(SESSION_COOKIE, httponly=True)
    return response


@router.get("/login/provider", include_in_schema=False)
def begin_at_provider(deps: Dependencies, request: Request) -> Response:
    """Send the browser to the identity provider."""
    begun = _provider(deps).begin()
    response = RedirectResponse(begun.address, status_code=303)
    # Lax, because the provider sends the browser back from another site.
    response.set_cookie(
        _BEGUN_COOKIE,
        begun.packed(),
        max_age=_BEGUN_S,
        path="/login",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


@router.get("/login/callback", include_in_schema=False)
def end_at_provider(
    deps: Dependencies,
    request: Request,
    code: Annotated[str, Query(max_length=4000)] = "",
    state: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """The identity provider has sent the browser back."""
    provider, begun = _provider(deps), Begun.unpacked(request.cookies.get(_BEGUN_COOKIE, ""))
    session = _desk(deps).by_provider(lambda: provider.finish(begun, code, state), _address(request))
    response = _logged_in(deps, request, session, "/")
    response.delete_cookie(_BEGUN_COOKIE, path="/login", httponly=True)
    return response


def _logged_in(deps: ApiDependencies, request: Request, session: str, wanted: str) -> Response:
    """A new session at each login, so that nobody can plant one of theirs beforehand; the former one ends."""
    former = request.cookies.get(SESSION_COOKIE)
    if former is not None:
        _desk(deps).forget(former)
    response = RedirectResponse(own_path(wanted), status_code=303)
    response.set_cookie(
        SESSION_COOKIE,
        session,
        httponly=True,
        # A browser that comes back from the provider would not send a strict one.
        samesite="strict" if deps.provider is None else "lax",
        secure=request.url.scheme == "https",
    )
    return response


def _login_page(deps: ApiDependencies, wanted: str, error: WrongLogin | TooManyLogins | None = None) -> Response:
    headers = {"Retry-After": str(round(error.wait_s))} if isinstance(error, TooManyLogins) else None
    return page(
        "login.html",
        None,
        status_of(error) if error else 200,
        headers,
        problem=error,
        wanted=own_path(wanted),
        provider=deps.provider.name if deps.provider else "",
    )


def _desk(deps: ApiDependencies) -> LoginDesk:
    return LoginDesk(deps.accounts, deps.audit, deps.clock, deps.passwords, deps.token, deps.session_s)


def _provider(deps: ApiDependencies) -> IdentityProvider:
    if deps.provider is None:
        raise Missing("no identity provider", "api.oidc in the settings", "log in with name and password")
    return deps.provider


def _address(request: Request) -> str:
    return network_of(request.client.host if request.client else None)
