"""Who may talk to the API: everybody on this machine, or whoever holds the token; and what browsers are told."""

from __future__ import annotations

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import ConfigurationError
from services.api.problems import Foreign, Problem, problem_response

SESSION_COOKIE = "sightline_session"

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_OPEN_PATHS = frozenset({"/healthz", "/login"})
_OPEN_PREFIX = "/static/"  # the login page needs its style

_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def require_token_off_localhost(host: str, token: str | None) -> None:
    """Refuse to show people to a whole network without a token. Raises `ConfigurationError`."""
    if not token and host not in _LOCAL_NAMES:
        raise ConfigurationError(
            f"the API would listen on {host!r}, reachable from outside, without a token; "
            "expected a token or a local address: set SIGHTLINE_API__TOKEN, or bind to 127.0.0.1"
        )


def session_value(token: str) -> str:
    """What the login cookie holds: derived from the token, so that the token itself never lies in a browser."""
    return hmac.new(token.encode(), b"sightline page session", hashlib.sha256).hexdigest()


def is_token(given: str, token: str) -> bool:
    """Compares in constant time, so that nobody can find the token letter by letter."""
    return hmac.compare_digest(given.encode(), token.encode())


def is_admitted(headers: Headers, token: str) -> bool:
    """Whether the request carries the token as a bearer, or the cookie of a login."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and is_token(given.strip(), token):
        return True
    try:
        session = SimpleCookie(headers.get("cookie", "")).get(SESSION_COOKIE)
    except CookieError:
        return False
    return session is not None and is_token(session.value, session_value(token))


def host_name(header: str) -> str:
    """The name in a `Host` header, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


def own_pages_only(request: Request) -> None:
    """Refuse a change that a browser makes for a page of another site. Raises `Foreign`.

    Such a page can let the browser of somebody who is admitted send a form here. Browsers say where a request comes
    from; programs say nothing, and are admitted by the token or by being on this machine.
    """
    came_from, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if came_from is not None:
        is_own = came_from in ("same-origin", "none")
    else:
        # Without the scheme: behind a proxy it is another one here.
        is_own = origin is None or origin.partition("://")[2] == request.headers.get("host")
    if not is_own:
        raise Foreign(
            f"a change that a page of {(origin or 'another site')[:80]} asks for",
            "one from Sightline's own pages, or from a program",
            "make the correction there, or by `sightline correct`",
        )


class AccessGate:
    """Checks every request before anything else sees it, and adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        await (refusal or self._app)(
            scope, receive, _with_security_headers(send, scope["path"].startswith(_OPEN_PREFIX))
        )

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), scope["path"]
        # Without a token the API trusts every program of this machine. A page on the internet may let its own name
        # resolve to 127.0.0.1 and so reach it through a browser; the Host header gives that away.
        if self._token is None:
            if host_name(headers.get("host", "")) in _LOCAL_NAMES:
                return None
            host = headers.get("host", "")[:80]
            return problem_response(
                scope,
                400,
                Problem(
                    found=f"the host name {host!r}",
                    expected="localhost, because no API token is set",
                    to_do="open http://localhost with the port, or set SIGHTLINE_API__TOKEN to serve other names",
                ),
            )
        if path in _OPEN_PATHS or path.startswith(_OPEN_PREFIX) or is_admitted(headers, self._token):
            return None
        if "text/html" in headers.get("accept", "") and not path.startswith("/api/"):
            return RedirectResponse("/login", status_code=303)
        return problem_response(
            scope,
            401,
            Problem(
                found="no valid API token",
                expected="the header `Authorization: Bearer TOKEN`",
                to_do="send the token that was set as SIGHTLINE_API__TOKEN, or log in at /login",
            ),
            {"WWW-Authenticate": "Bearer"},
        )


def _with_security_headers(send: Send, is_static: bool) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            # The files of the page change with a release only; what shows people is kept nowhere.
            headers.setdefault("Cache-Control", "public, max-age=3600" if is_static else "no-store")
        await send(message)

    return send_with_headers
