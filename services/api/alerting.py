"""One way to work with alerts for every door: the JSON endpoints and the page record the same before they do it."""

from __future__ import annotations

from pipeline.audit import AuditAction
from pipeline.search.back_test import BackTest
from pipeline.search.standing import AlertState, StandingRequest
from services.api.dependencies import ApiDependencies
from services.audited import stated


def keep_query(deps: ApiDependencies, request: StandingRequest, reason: str | None) -> int:
    """Keep a question, which is off; its number. Raises `InvalidQuery` for one that cannot stand."""
    asked, why = deps.alerts.checked(request, deps.known_cameras()), stated(reason, deps.needs_reason)
    detail = {"change": "kept", "name": asked.name, "cameras": list(asked.camera_ids), "reason": why}
    deps.record(AuditAction.ALERT, asked.question, detail)
    return deps.alerts.add(asked)


def try_query(deps: ApiDependencies, number: int, days: float, reason: str | None) -> BackTest:
    """What a query would have done in the last days. Raises `UnknownStandingQuery`, and `InvalidQuery`."""
    asked, why = deps.alerts.book.query(number).request, stated(reason, deps.needs_reason)
    detail = {"kind": "back-test", "standing_query": number, "days": days, "reason": why}
    deps.record(AuditAction.SEARCH, asked.question, detail)
    return deps.alerts.test(number, days)


def switch_query(deps: ApiDependencies, number: int, is_on: bool) -> None:
    """Raises `UnknownStandingQuery`, and `InvalidQuery` for one that was not tried or would ring too often."""
    _record(deps, number, "switched on" if is_on else "switched off")
    if is_on:
        deps.alerts.switch_on(number)
    else:
        deps.alerts.book.switch_off(number)


def remove_query(deps: ApiDependencies, number: int) -> None:
    """With all its alerts. Raises `UnknownStandingQuery`."""
    _record(deps, number, "removed")
    deps.alerts.book.remove(number)


def judge_alert(deps: ApiDependencies, number: int, state: AlertState, made_by: str | None = None) -> None:
    """Raises `UnknownAlert`."""
    query_number = deps.alerts.book.alert(number).query_number
    deps.record(AuditAction.ALERT, f"alert {number}", {"change": state.value, "standing_query": query_number})
    deps.alerts.judge(number, state, deps.maker(made_by))


def _record(deps: ApiDependencies, number: int, change: str) -> None:
    question = deps.alerts.book.query(number).request.question
    deps.record(AuditAction.ALERT, f"standing query {number}", {"change": change, "question": question})
