"""Standing queries: keep one, try it on the history, switch it on and off."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from pipeline.contracts import CameraId
from pipeline.search.alerts import Hit
from pipeline.search.back_test import BackTest
from pipeline.search.standing import LARGEST_BUDGET, LONGEST_WINDOW_S, MAX_CAMERAS, MAX_NAME, StandingQuery
from pipeline.search.standing import StandingRequest as Request
from pipeline.search.wording import MAX_QUERY_CHARACTERS
from services.alert_desk import LONGEST_TEST_DAYS, USUAL_TEST_DAYS, outcome_in_words, query_in_words
from services.api.access import own_pages_only
from services.api.dependencies import Dependencies
from services.api.replies import Numbered

router = APIRouter(prefix="/api/v1/standing-queries", tags=["alerts"])


class StandingBody(BaseModel):
    """A question that shall stand. `window_s`: one alert for a person and a camera within it; `daily_budget`: alerts
    beyond it are kept, but nobody is told."""

    model_config = ConfigDict(extra="forbid")

    question: Annotated[str, Field(max_length=MAX_QUERY_CHARACTERS)]
    name: Annotated[str | None, Field(max_length=MAX_NAME, description="None: the question, as far as it fits")] = None
    made_by: Annotated[str, Field(min_length=1, max_length=MAX_NAME, description="As the caller says")]
    cameras: Annotated[list[str], Field(max_length=MAX_CAMERAS, description="Where it alerts; none: everywhere")] = []
    window_s: Annotated[float, Field(ge=1, le=LONGEST_WINDOW_S)] = 3600.0
    daily_budget: Annotated[int, Field(ge=1, le=LARGEST_BUDGET)] = 24


class BackTestBody(BaseModel):
    """Over how many of the last days."""

    model_config = ConfigDict(extra="forbid")

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


@router.post("", status_code=201, dependencies=[Depends(own_pages_only)])
def add_standing(deps: Dependencies, body: StandingBody) -> StandingReply:
    """Keep a question. It is off until it was tried and switched on."""
    request = Request(
        question=body.question,
        name=body.name or body.question[:MAX_NAME],
        made_by=body.made_by,
        camera_ids=tuple(CameraId(camera) for camera in body.cameras),
        window_s=body.window_s,
        daily_budget=body.daily_budget,
    )
    return show_standing(deps, deps.alerts.add(request, deps.known_cameras() if body.cameras else ()))


@router.post("/{number}/test", dependencies=[Depends(own_pages_only)])
def test_standing(deps: Dependencies, number: Numbered, body: BackTestBody) -> BackTestReply:
    """Try it on the last days: how often, and for whom, it would have raised an alert."""
    return BackTestReply.of(deps.alerts.test(number, body.days))


@router.post("/{number}/on", dependencies=[Depends(own_pages_only)])
def switch_on(deps: Dependencies, number: Numbered) -> StandingReply:
    """Raise alerts from now on. It must have been tried, and keep to its budget."""
    deps.alerts.switch_on(number)
    return show_standing(deps, number)


@router.post("/{number}/off", dependencies=[Depends(own_pages_only)])
def switch_off(deps: Dependencies, number: Numbered) -> StandingReply:
    """Raise no alerts any more; those that were raised stay."""
    deps.alerts.book.switch_off(number)
    return show_standing(deps, number)


@router.delete("/{number}", status_code=204, dependencies=[Depends(own_pages_only)])
def remove_standing(deps: Dependencies, number: Numbered) -> None:
    """Forget it with all its alerts."""
    deps.alerts.book.remove(number)
