"""Alerts: the list, the live feed, and what people say of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from pipeline.adapters.standing_book import AlertFilter
from pipeline.audit import AuditAction
from pipeline.contracts import GlobalId
from pipeline.search.standing import MAX_NAME, AlertState
from services.api.alert_feed import LONGEST_S, AlertFeed
from services.api.alerting import judge_alert
from services.api.callers import ANYBODY_HERE, Admission
from services.api.dependencies import ApiDependencies, Dependencies
from services.api.replies import LARGEST_NUMBER, AlertReply, Numbered
from services.api.rights import least_role

router = APIRouter(prefix="/api/v1", tags=["alerts"])

Number = Annotated[int, Query(ge=0, le=LARGEST_NUMBER)]


class Judgement(BaseModel):
    """Who says so."""

    model_config = ConfigDict(extra="forbid")

    made_by: Annotated[
        str | None,
        Field(min_length=1, max_length=MAX_NAME, description="As the caller says; of an account it is always its name"),
    ] = None


class AlertQuestion(BaseModel):
    """Which alerts; nothing means all."""

    model_config = ConfigDict(extra="forbid")

    query: Number | None = None
    state: AlertState | None = None
    person: Number | None = None
    before: Annotated[int | None, Query(ge=0, le=LARGEST_NUMBER, description="Only numbers below this one")] = None
    limit: Annotated[int, Query(ge=1, le=1000)] = 100


@router.get("/alerts")
def list_alerts(deps: Dependencies, question: Annotated[AlertQuestion, Query()]) -> list[AlertReply]:
    """The newest, newest first."""
    person = None if question.person is None else GlobalId(question.person)
    only = AlertFilter(question.query, question.state, person)
    deps.record(AuditAction.VIEW, "the list of alerts", question.model_dump(exclude_none=True))
    found = deps.alerts.book.alerts(only, question.limit, question.before)
    deps.showed(alert.global_id for alert in found)
    return [AlertReply.of(alert) for alert in found]


@router.get("/alerts/feed", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
def follow_alerts(
    request: Request,
    deps: Dependencies,
    after: Annotated[int | None, Query(ge=0, le=LARGEST_NUMBER, description="Begin above this number")] = None,
    for_s: Annotated[float, Query(ge=0, le=LONGEST_S, description="End the stream after so long")] = LONGEST_S,
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_NUMBER)] = None,
) -> StreamingResponse:
    """Alerts as they are raised, as server-sent events `alert` with a JSON alert each. Without a number only new ones
    come; browsers that connect again send the last one that they have by themselves. It ends with the login."""
    deps.record(AuditAction.VIEW, "the feed of alerts")
    feed: AlertFeed = request.app.state.alert_feed
    begin = after if last_event_id is None else last_event_id
    events = feed.open(begin, for_s, lambda: _is_still_admitted(request))
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@router.get("/alerts/{number}")
def show_alert(deps: Dependencies, number: Numbered) -> AlertReply:
    """One alert, with the person to whom its tracklet belongs now."""
    found = deps.alerts.book.alert(number)
    deps.record(AuditAction.VIEW, f"alert {number}", {"person": found.global_id})
    deps.showed((found.global_id,))
    return AlertReply.of(found)


@router.post("/alerts/{number}/acknowledge")
def acknowledge(deps: Dependencies, number: Numbered, body: Judgement) -> AlertReply:
    """Somebody has seen to it. The query stays as it is; a false alarm that was called so by mistake is taken back."""
    return _judged(deps, number, AlertState.ACKNOWLEDGED, body)


@router.post("/alerts/{number}/false-alarm")
def call_false_alarm(deps: Dependencies, number: Numbered, body: Judgement) -> AlertReply:
    """It showed somebody else: from now on its query asks for more."""
    return _judged(deps, number, AlertState.FALSE_ALARM, body)


def _judged(deps: ApiDependencies, number: int, state: AlertState, body: Judgement) -> AlertReply:
    judge_alert(deps, number, state, body.made_by)
    return AlertReply.of(deps.alerts.book.alert(number))


def _is_still_admitted(request: Request) -> bool:
    """Whether whoever opened the feed would be let in again: not after a logout, nor with a role that was taken."""
    admission: Admission = request.app.state.admission
    caller = ANYBODY_HERE if admission.is_open() else admission.caller(request.headers)
    least = least_role(request.app.state.rights, request.method, request.scope["route"].path)
    return least is None or (caller is not None and caller.role.includes(least))
