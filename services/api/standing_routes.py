"""Standing queries: keep one, try it on the history, switch it on and off."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from pipeline.contracts import CameraId
from pipeline.search.alerts import Hit
from pipeline.search.back_test import BackTest
from pipeline.search.standing import LARGEST_BUDGET, LONGEST_WINDOW_S, MAX_CAMERAS, MAX_NAME, StandingQuery
from pipeline.search.standing import StandingRequest as Request
from pipeline.search.wording import MAX_QUERY_CHARACTERS
from services.alert_desk import LONGEST_TEST_DAYS, USUAL_TEST_DAYS, outcome_in_words, query_in_words
from services.api.alerting import keep_query, remove_query, switch_query, try_query
from services.api.dependencies import Dependencies
from services.api.replies import Numbered
from services.audited import MAX_REASON

router = APIRouter(prefix="/api/v1/standing-queries", tags=["alerts"])


class Reasoned(BaseModel):
    """What looks for people says why."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[
        str | None, Field(max_length=MAX_REASON, description="Why; kept in the audit log. The site may require it")
    ] = None


class StandingBody(Reasoned):
    """A question that shall stand. Places in it are cameras; a time is refused. `window_s`: one alert for a person and
    a camera within it; `daily_budget`: alerts beyond it are kept, but nobody is told."""

    question: Annotated[str, Field(max_length=MAX_QUERY_CHARACTERS)]
    name: Annotated[str | None, Field(max_length=MAX_NAME, description="None: the question, as far as it fits")] = None
    made_by: Annotated[
        str | None,
        Field(min_length=1, max_length=MAX_NAME, description="As the caller says; of an account it is always its name"),
    ] = None
    cameras: Annotated[list[str], Field(max_length=MAX_CAMERAS, description="Where it alerts; none: everywhere")] = []
    window_s: Annotated[float, Field(ge=1, le=LONGEST_WINDOW_S)] = 3600.0
    daily_budget: Annotated[int, Field(ge=1, le=LARGEST_BUDGET)] = 24


class BackTestBody(Reasoned):
    """Over how many of the last days."""

    days: Annotated[float, Field(gt=0, le=LONGEST_TEST_DAYS)] = USUAL_TEST_DAYS


class StandingReply(BaseModel):
    """One standing query. `margin` is what false alarms have taught it, in log-odds beyond what an alert needs."""

    number: int
    name: str
    question: str
    cameras: list[str]
    window_s: float
    daily_budget: int
    made_by: str
    made_at: float
    is_on: bool
    margin: float
    tested_at: float | None
    summary: str

    @classmethod
    def of(cls, query: StandingQuery) -> StandingReply:
        request, test = query.request, query.test
        told = "Never tried." if test is None else outcome_in_words(test.fired, test.days)
        return cls(
            number=query.number,
            name=request.name,
            question=request.question,
            cameras=list(request.camera_ids),
            window_s=request.window_s,
            daily_budget=request.daily_budget,
            made_by=request.made_by,
            made_at=query.made_at,
            is_on=query.is_on,
            margin=round(query.margin, 3),
            tested_at=None if test is None else test.tested_at,
            summary=f"{query_in_words(query)}: {'on' if query.is_on else 'off'}. {told}",
        )


class HitReply(BaseModel):
    """An alert that would have been raised."""

    global_id: int
    camera_id: str
    tracklet_id: str
    started_at: float
    ended_at: float
    confidence: float

    @classmethod
    def of(cls, hit: Hit) -> HitReply:
        return cls(
            global_id=hit.global_id,
            camera_id=hit.camera_id,
            tracklet_id=hit.tracklet_id,
            started_at=hit.started_at,
            ended_at=hit.ended_at,
            confidence=round(hit.confidence, 4),
        )


class BackTestReply(BaseModel):
    """What a query would have done; `hits` are the newest of `fired`. People are who they are known to be today."""

    summary: str
    fired: int
    days: float
    tracklets: int
    unknown_words: list[str]
    hits: list[HitReply]

    @classmethod
    def of(cls, found: BackTest) -> BackTestReply:
        return cls(
            summary=outcome_in_words(found.fired, found.days),
            fired=found.fired,
            days=found.days,
            tracklets=found.tracklets,
            unknown_words=list(found.unknown_words),
            hits=[HitReply.of(hit) for hit in found.hits],
        )


@router.get("")
def list_standing(deps: Dependencies) -> list[StandingReply]:
    """All of them, by number."""
    return [StandingReply.of(query) for query in deps.alerts.book.queries()]


@router.get("/{number}")
def show_standing(deps: Dependencies, number: Numbered) -> StandingReply:
    """One of them."""
    return StandingReply.of(deps.alerts.book.query(number))


@router.post("", status_code=201)
def add_standing(deps: Dependencies, body: StandingBody) -> StandingReply:
    """Keep a question. It is off until it was tried and switched on."""
    request = Request(
        question=body.question,
        name=body.name or body.question[:MAX_NAME],
        made_by=deps.maker(body.made_by),
        camera_ids=tuple(CameraId(camera) for camera in body.cameras),
        window_s=body.window_s,
        daily_budget=body.daily_budget,
    )
    return show_standing(deps, keep_query(deps, request, body.reason))


@router.post("/{number}/test")
def test_standing(deps: Dependencies, number: Numbered, body: BackTestBody) -> BackTestReply:
    """Try it on the last days: how often, and for whom, it would have raised an alert."""
    return BackTestReply.of(try_query(deps, number, body.days, body.reason))


@router.post("/{number}/on")
def switch_on(deps: Dependencies, number: Numbered) -> StandingReply:
    """Raise alerts from now on. It must have been tried, and keep to its budget."""
    switch_query(deps, number, True)
    return show_standing(deps, number)


@router.post("/{number}/off")
def switch_off(deps: Dependencies, number: Numbered) -> StandingReply:
    """Raise no alerts any more; those that were raised stay."""
    switch_query(deps, number, False)
    return show_standing(deps, number)


@router.delete("/{number}", status_code=204)
def remove_standing(deps: Dependencies, number: Numbered) -> None:
    """Forget it with all its alerts."""
    remove_query(deps, number)
