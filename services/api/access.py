"""The gate before the API: everybody on this machine while nothing is locked, else who is logged in; and what browsers
are told."""

from __future__ import annotations

from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import SightlineError
from services.api.callers import ANYBODY_HERE, LOCAL_NAMES, Admission, Caller
from services.api.problems import Problem, problem_of, problem_response, status_of
from services.api.rights import Rights

_STATIC = "/static/"  # the login page needs its style
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_POLICY_VIOLATION = 1008

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


def host_name(header: str) -> str:
    """The name in a `Host` header, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


class AccessGate:
    """Finds out who sends a request before anything else sees it, and adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, admission: Admission, rights: Rights) -> None:
        self._app = app
        self._admission = admission
        self._open_paths = frozenset(path for (_, path), least in rights.items() if least is None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # there is none, and none may pass by unseen
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            admitted = await run_in_threadpool(self._admitted, scope)
        except SightlineError as error:
            admitted = problem_response(scope, status_of(error), problem_of(error))
        answering = self._app
        if isinstance(admitted, Response):
            answering = admitted
        else:
            scope["state"] = {**scope.get("state", {}), "caller": admitted}
        await answering(scope, receive, _with_security_headers(send, scope["path"].startswith(_STATIC)))

    def _admitted(self, scope: Scope) -> Caller | Response | None:
        """Who it is, None where nobody is asked, or a refusal."""
        headers, path = Headers(scope=scope), scope["path"]
        if path in self._open_paths or path.startswith(_STATIC):
            return None  # before the database is asked: health is told while it is away
        if self._admission.is_open():
            return _stranger(scope, headers) or ANYBODY_HERE
        return self._admission.caller(headers) or _to_login(scope, headers)


def _stranger(scope: Scope, headers: Headers) -> Response | None:
    """While nothing is locked, every program of this machine is trusted, but nobody whom it speaks for.

    A page on the internet may let its own name resolve to 127.0.0.1 and so reach the API through a browser: the Host
    header gives that away. A proxy on this machine speaks for its whole network: what it adds gives that away.
    """
    host, proxy = headers.get("host", ""), next((name for name in _FORWARDED if name in headers), None)
    if host_name(host) in LOCAL_NAMES and proxy is None:
        return None
    return problem_response(
        scope,
        400,
        Problem(
            found=f"the host name {host[:80]!r}" if proxy is None else f"a request by a proxy (header {proxy})",
            expected="localhost, directly, because there is neither an account nor an API token",
            to_do="open http://localhost with the port; to serve others, run `sightline accounts add NAME --role "
            "admin`, or set SIGHTLINE_API__TOKEN",
        ),
    )


def _to_login(scope: Scope, headers: Headers) -> Response:
    path = scope["path"]
    if "text/html" in headers.get("accept", "") and not path.startswith("/api/"):
        return RedirectResponse("/login" if path == "/" else f"/login?next={quote(path, safe='')}", status_code=303)
    return problem_response(
        scope,
        401,
        Problem(
            found="no valid API token",
            expected="the header `Authorization: Bearer TOKEN`",
            to_do="send a token of `sightline accounts token`, or SIGHTLINE_API__TOKEN; or log in at /login",
        ),
        {"WWW-Authenticate": "Bearer"},
    )


def _with_security_headers(send: Send, is_static: bool) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            if not is_static:  # what a browser keeps is for this login alone
                headers.add_vary_header("Cookie, Authorization")
            # The files of the page change with a release only; what shows people is kept nowhere.
            headers.setdefault("Cache-Control", "public, max-age=3600" if is_static else "no-store")
        await send(message)

    return send_with_headers
