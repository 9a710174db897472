"""The pages of alerts: what was raised, which questions stand, and a new one with what it would have done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query
from pydantic import BaseModel
from starlette.responses import RedirectResponse, Response

from pipeline.adapters.standing_book import AlertFilter
from pipeline.audit import AuditAction
from pipeline.contracts import BlobKey, CameraId
from pipeline.errors import InvalidQuery
from pipeline.search.alerts import Hit
from pipeline.search.back_test import BackTest
from pipeline.search.people import UnknownPerson
from pipeline.search.standing import LARGEST_BUDGET, MAX_NAME, AlertState, StandingRequest
from services.alert_desk import LONGEST_TEST_DAYS, USUAL_TEST_DAYS, outcome_in_words, query_in_words
from services.api.alerting import judge_alert, keep_query, remove_query, switch_query, try_query
from services.api.dependencies import ApiDependencies, Dependencies
from services.api.pages import page
from services.api.problems import problem_of, status_of
from services.api.replies import LARGEST_NUMBER, Numbered

router = APIRouter(prefix="/alerts", include_in_schema=False)

ALERTS_PER_PAGE = 24
SHOWN_HITS = 24
WINDOWS = {600: "10 minutes", 3600: "an hour", 86_400: "a day"}  # seconds in which one alert is enough


class ListQuestion(BaseModel):
    """Which alerts: those that nobody has judged, or all."""

    every: bool = False
    before: Annotated[int | None, Query(ge=0, le=LARGEST_NUMBER)] = None

    def address(self, **changes: object) -> str:
        fields = self.model_dump(exclude_defaults=True) | changes
        return f"/alerts?{urlencode(fields)}" if fields else "/alerts"


class NewAlert(BaseModel):
    """The form of a new alert, read leniently: the form shows what is wrong."""

    q: str = ""
    name: str = ""
    cameras: list[str] = []
    window_s: float = 3600.0
    daily_budget: int = 24
    reason: str = ""

    def request(self, made_by: str) -> StandingRequest:
        return StandingRequest(
            question=self.q,
            name=self.name.strip() or self.q[:MAX_NAME],
            made_by=made_by[:MAX_NAME],
            camera_ids=tuple(CameraId(camera) for camera in self.cameras),
            window_s=self.window_s,
            daily_budget=self.daily_budget,
        )


@dataclass(frozen=True, slots=True)
class ShownHit:
    """An alert that would have been raised, with crops of that stay."""

    hit: Hit
    crop_keys: tuple[BlobKey, ...]


@router.get("")
def alerts_page(deps: Dependencies, question: Annotated[ListQuestion, Query()]) -> Response:
    """What was raised, the newest first, and which questions stand."""
    deps.record(AuditAction.VIEW, "the list of alerts", question.model_dump(exclude_defaults=True))
    return _list(deps, "alerts.html", question, queries=deps.alerts.book.queries())


@router.get("/list")
def alerts_part(deps: Dependencies, question: Annotated[ListQuestion, Query()]) -> Response:
    """The list alone, for the script of a page that is open when an alert is raised."""
    deps.record(AuditAction.VIEW, "the list of alerts", question.model_dump(exclude_defaults=True))
    return _list(deps, "_alert_list.html", question)


@router.post("/{number}/acknowledge")
def acknowledge(deps: Dependencies, number: Numbered, every: Annotated[bool, Form()] = False) -> Response:
    """Somebody has seen to it."""
    return _judged(deps, number, AlertState.ACKNOWLEDGED, every)


@router.post("/{number}/false-alarm")
def call_false_alarm(deps: Dependencies, number: Numbered, every: Annotated[bool, Form()] = False) -> Response:
    """It showed somebody else."""
    return _judged(deps, number, AlertState.FALSE_ALARM, every)


@router.get("/new")
def new_page(deps: Dependencies, form: Annotated[NewAlert, Query()]) -> Response:
    """The form; a search page fills it in."""
    return _form(deps, form)


@router.post("/new")
def add_alert(deps: Dependencies, form: Annotated[NewAlert, Form()]) -> Response:
    """Keep the question, switched off, and go on with its back-test."""
    try:
        number = keep_query(deps, form.request(deps.who.name), form.reason)
    except InvalidQuery as error:
        return _form(deps, form, error)
    return RedirectResponse(f"/alerts/queries/{number}", status_code=307)  # as the same form, which tries it


@router.get("/queries/{number}")
def query_page(deps: Dependencies, number: Numbered) -> Response:
    """One standing question, and how it is switched."""
    return _query(deps, number, USUAL_TEST_DAYS)


@router.post("/queries/{number}")
def try_out(
    deps: Dependencies,
    number: Numbered,
    days: Annotated[float, Form(gt=0, le=LONGEST_TEST_DAYS)] = USUAL_TEST_DAYS,
    reason: Annotated[str, Form()] = "",
) -> Response:
    """What it would have done in the last days: whom it would have shown, the newest first."""
    return _query(deps, number, days, try_query(deps, number, days, reason))


@router.post("/queries/{number}/on")
def switch_on(deps: Dependencies, number: Numbered) -> Response:
    """Raise alerts from now on."""
    switch_query(deps, number, True)
    return RedirectResponse(f"/alerts/queries/{number}", 303)


@router.post("/queries/{number}/off")
def switch_off(deps: Dependencies, number: Numbered) -> Response:
    """Raise no alerts any more."""
    switch_query(deps, number, False)
    return RedirectResponse(f"/alerts/queries/{number}", 303)


@router.post("/queries/{number}/remove")
def remove(deps: Dependencies, number: Numbered) -> Response:
    """Forget it with all its alerts."""
    remove_query(deps, number)
    return RedirectResponse("/alerts", 303)


def _list(deps: ApiDependencies, template: str, question: ListQuestion, **values: object) -> Response:
    only = AlertFilter(state=None if question.every else AlertState.OPEN)
    found = deps.alerts.book.alerts(only, ALERTS_PER_PAGE + 1, question.before)
    deps.showed(alert.global_id for alert in found[:ALERTS_PER_PAGE])
    return page(
        template,
        deps.caller,
        200,
        None,
        question=question,
        alerts=found[:ALERTS_PER_PAGE],
        older=question.address(before=found[ALERTS_PER_PAGE - 1].number) if len(found) > ALERTS_PER_PAGE else None,
        last=deps.alerts.book.last_alert(),
        now=deps.local_now(),
        **values,
    )


def _judged(deps: ApiDependencies, number: int, state: AlertState, every: bool) -> Response:
    judge_alert(deps, number, state)
    return RedirectResponse(ListQuestion(every=every).address(), 303)


def _form(deps: ApiDependencies, form: NewAlert, error: InvalidQuery | None = None) -> Response:
    return page(
        "new_alert.html",
        deps.caller,
        status_of(error) if error else 200,
        None,
        form=form,
        cameras=deps.known_cameras(),
        windows=WINDOWS,
        largest_budget=LARGEST_BUDGET,
        needs_reason=deps.needs_reason,
        days=USUAL_TEST_DAYS,
        problem=problem_of(error) if error else None,
    )


def _query(deps: ApiDependencies, number: int, days: float, found: BackTest | None = None) -> Response:
    query = deps.alerts.book.query(number)
    return page(
        "standing_query.html",
        deps.caller,
        200,
        None,
        query=query,
        asked=query_in_words(query),
        outcome=outcome_in_words(query.test.fired, query.test.days) if query.test else "",
        found=found,
        hits=_shown(deps, found.hits[:SHOWN_HITS]) if found else [],
        days=days,
        longest_days=LONGEST_TEST_DAYS,
        windows=WINDOWS,
        needs_reason=deps.needs_reason,
        now=deps.local_now(),
    )


def _shown(deps: ApiDependencies, hits: tuple[Hit, ...]) -> list[ShownHit]:
    """With the crops of the stay in which the person would have been alerted of, while the person is known."""
    routes = {}
    for global_id in {hit.global_id for hit in hits}:
        try:
            routes[global_id] = deps.search.person(global_id).route
        except UnknownPerson:
            continue  # erased since
    deps.showed(routes)
    stays = {
        hit: next((stay for stay in routes.get(hit.global_id, ()) if hit.tracklet_id in stay.tracklet_ids), None)
        for hit in hits
    }
    return [ShownHit(hit, stay.crop_keys if stay else ()) for hit, stay in stays.items()]
