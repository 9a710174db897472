"""Who may call what: the least role of every route, in one table. What stands in no line is for admins alone."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Request

from pipeline.accounts import Role
from pipeline.errors import InvalidQuery
from services.api.callers import Caller, caller_of, is_same

Rights = Mapping[tuple[str, str], Role | None]  # (method, route); None: anybody, without logging in

RIGHTS: Rights = {
    ("GET", "/healthz"): None,
    ("GET", "/login"): None,
    ("POST", "/login"): None,
    ("GET", "/login/provider"): None,
    ("GET", "/login/callback"): None,
    ("POST", "/logout"): Role.VIEWER,
    ("GET", "/api/v1/me"): Role.VIEWER,
    ("GET", "/"): Role.VIEWER,
    ("POST", "/"): Role.VIEWER,
    ("GET", "/people"): Role.VIEWER,
    ("GET", "/people/{global_id}"): Role.VIEWER,
    ("GET", "/cameras"): Role.VIEWER,
    ("GET", "/cameras/wall"): Role.VIEWER,
    ("GET", "/api/v1/search"): Role.VIEWER,
    ("POST", "/api/v1/search"): Role.VIEWER,
    ("POST", "/api/v1/search/image"): Role.VIEWER,
    ("POST", "/api/v1/search/look"): Role.VIEWER,
    ("GET", "/api/v1/identities"): Role.VIEWER,
    ("GET", "/api/v1/identities/{global_id}"): Role.VIEWER,
    ("GET", "/api/v1/identities/{global_id}/similar"): Role.VIEWER,
    ("GET", "/api/v1/crops/{key}"): Role.VIEWER,
    ("GET", "/api/v1/cameras"): Role.VIEWER,
    ("GET", "/api/v1/cameras/{camera_id}/snapshot.jpg"): Role.VIEWER,
    ("GET", "/tracklets/{tracklet_id:path}/why"): Role.VIEWER,
    ("GET", "/api/v1/tracklets/{tracklet_id:path}/explanation"): Role.VIEWER,
    # These tell of all cameras: a look is made of every sighting, a correction names other people.
    ("POST", "/verdicts"): Role.INVESTIGATOR,
    ("GET", "/people/{global_id}/report"): Role.INVESTIGATOR,
    ("POST", "/people/{global_id}/corrections"): Role.INVESTIGATOR,
    ("GET", "/corrections"): Role.INVESTIGATOR,
    ("GET", "/corrections/{number}"): Role.INVESTIGATOR,
    ("POST", "/corrections/{number}/undo"): Role.INVESTIGATOR,
    ("POST", "/api/v1/search/verdicts"): Role.INVESTIGATOR,
    ("GET", "/api/v1/identities/{global_id}/look"): Role.INVESTIGATOR,
    ("GET", "/api/v1/identities/{global_id}/elsewhere"): Role.INVESTIGATOR,
    ("GET", "/api/v1/corrections"): Role.INVESTIGATOR,
    ("GET", "/api/v1/corrections/{number}"): Role.INVESTIGATOR,
    ("POST", "/api/v1/corrections"): Role.INVESTIGATOR,
    ("POST", "/api/v1/corrections/{number}/undo"): Role.INVESTIGATOR,
    ("GET", "/erasures/{number}"): Role.INVESTIGATOR,
    ("GET", "/alerts"): Role.INVESTIGATOR,
    ("GET", "/alerts/list"): Role.INVESTIGATOR,
    ("POST", "/alerts/{number}/acknowledge"): Role.INVESTIGATOR,
    ("POST", "/alerts/{number}/false-alarm"): Role.INVESTIGATOR,
    ("GET", "/alerts/new"): Role.INVESTIGATOR,
    ("POST", "/alerts/new"): Role.INVESTIGATOR,
    ("GET", "/alerts/queries/{number}"): Role.INVESTIGATOR,
    ("POST", "/alerts/queries/{number}"): Role.INVESTIGATOR,
    ("POST", "/alerts/queries/{number}/on"): Role.INVESTIGATOR,
    ("POST", "/alerts/queries/{number}/off"): Role.INVESTIGATOR,
    ("POST", "/alerts/queries/{number}/remove"): Role.INVESTIGATOR,
    ("GET", "/operations"): Role.OPERATOR,
    ("POST", "/operations/dead/replay"): Role.OPERATOR,
    ("GET", "/operations/models"): Role.OPERATOR,
    ("GET", "/operations/nights"): Role.OPERATOR,
    ("GET", "/operations/nights/{night}"): Role.OPERATOR,
    ("GET", "/operations/kept"): Role.OPERATOR,
    ("POST", "/operations/models/promote"): Role.ADMIN,
    ("POST", "/operations/models/rollback"): Role.ADMIN,
    ("GET", "/operations/audit"): Role.ADMIN,
    ("POST", "/operations/audit/verify"): Role.ADMIN,
    ("POST", "/api/v1/identities/{global_id}/export"): Role.INVESTIGATOR,
    ("GET", "/api/v1/erasures"): Role.INVESTIGATOR,
    ("GET", "/api/v1/erasures/{number}"): Role.INVESTIGATOR,
    # It cannot be taken back, and whoever was seen could hide by it.
    ("POST", "/api/v1/erasures"): Role.ADMIN,
    ("POST", "/people/{global_id}/erase"): Role.ADMIN,
    ("GET", "/api/v1/retention"): Role.OPERATOR,
    # An alert tells of a person at every camera: her newest tracklets count, wherever they were seen.
    ("GET", "/api/v1/standing-queries"): Role.INVESTIGATOR,
    ("POST", "/api/v1/standing-queries"): Role.INVESTIGATOR,
    ("GET", "/api/v1/standing-queries/{number}"): Role.INVESTIGATOR,
    ("DELETE", "/api/v1/standing-queries/{number}"): Role.INVESTIGATOR,
    ("POST", "/api/v1/standing-queries/{number}/test"): Role.INVESTIGATOR,
    ("POST", "/api/v1/standing-queries/{number}/on"): Role.INVESTIGATOR,
    ("POST", "/api/v1/standing-queries/{number}/off"): Role.INVESTIGATOR,
    ("GET", "/api/v1/alerts"): Role.INVESTIGATOR,
    ("GET", "/api/v1/alerts/feed"): Role.INVESTIGATOR,
    ("GET", "/api/v1/alerts/{number}"): Role.INVESTIGATOR,
    ("POST", "/api/v1/alerts/{number}/acknowledge"): Role.INVESTIGATOR,
    ("POST", "/api/v1/alerts/{number}/false-alarm"): Role.INVESTIGATOR,
    ("GET", "/readyz"): Role.OPERATOR,
    ("GET", "/metrics"): Role.OPERATOR,
}

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_CSRF_HEADER = "x-csrf-token"
_CSRF_FIELD = "csrf"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class NotAllowed(InvalidQuery):
    """The caller's role does not reach."""


class Foreign(InvalidQuery):
    """A page of another site wants to change something here."""


def rights(open_metrics: bool) -> Rights:
    """`RIGHTS` as the settings want them."""
    return {**RIGHTS, ("GET", "/metrics"): None} if open_metrics else RIGHTS


def least_role(table: Rights, method: str, route: str) -> Role | None:
    """Who may call a route; None for anybody. What the table does not name is for admins."""
    return table.get((method, route), Role.ADMIN)


def may(caller: Caller | None, method: str, route: str) -> bool:
    """Whether there is such a route and `caller` may call it, for what pages offer."""
    least = RIGHTS.get((method, route), Role.ADMIN)
    return (method, route) in RIGHTS and (least is None or (caller is not None and caller.role.includes(least)))


async def check_rights(request: Request) -> None:
    """Before every route: the caller may call it, and a change comes from one of our own pages or from a program.

    Raises `NotAllowed` and `Foreign`.
    """
    caller = caller_of(request.scope)
    least = least_role(request.app.state.rights, request.method, request.scope["route"].path)
    if least is not None and (caller is None or not caller.role.includes(least)):
        raise NotAllowed(
            f"{caller.name} as {caller.role.value}" if caller else "nobody",
            f"the role {least.value} or one above it",
            "ask an admin for the role, or log in with another account",
        )
    if request.method not in _READING:
        own_pages_only(request)
        if caller is not None and caller.session is not None:
            await _check_form(request, caller)


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
            "make it there, or by the command `sightline`",
        )


async def _check_form(request: Request, caller: Caller) -> None:
    """A browser that is logged in proves that the form was ours, even where it does not say who sent it."""
    given = request.headers.get(_CSRF_HEADER, "")
    if not given and request.headers.get("content-type", "").startswith(_FORMS):
        field = (await request.form()).get(_CSRF_FIELD)  # read once and kept: the route gets the same form
        given = field if isinstance(field, str) else ""
    if not is_same(given, caller.csrf):
        raise Foreign(
            "a change without the mark of this session's pages",
            f"the hidden field `{_CSRF_FIELD}` of the form, or the header X-CSRF-Token",
            "open the page again and repeat it; programs use a token instead of a login",
        )
