"""Standing queries and their alerts as values: what is asked for, what a back-test found, and what was raised."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from pipeline.contracts import BlobKey, CameraId, GlobalId, TrackletId
from pipeline.errors import InvalidQuery
from pipeline.search.wording import wording

MAX_NAME = 64
MAX_CAMERAS = 100
LONGEST_WINDOW_S = 7 * 86_400.0
LARGEST_BUDGET = 1000
MOST_QUERIES = 10_000

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class StandingRequest:
    """A question that shall stand. Raises `InvalidQuery` where it cannot."""

    question: str
    name: str
    made_by: str
    camera_ids: tuple[CameraId, ...] = ()  # where it raises alerts; none: everywhere
    window_s: float = 3600.0  # one alert for a person and a camera within it
    daily_budget: int = 24  # alerts that may ring within a day

    def check(self) -> None:
        """Raises `InvalidQuery` where it cannot stand."""
        wording(self.question)
        for noun, text in (("name", self.name), ("maker", self.made_by)):
            if not 0 < len(text.strip()) <= MAX_NAME:
                raise InvalidQuery(
                    f"a {noun} of {len(text)} characters", f"1 to {MAX_NAME}", "name it briefly, as you will know it"
                )
        for noun, text in (("question", self.question), ("name", self.name), ("maker", self.made_by)):
            if _CONTROL.search(text):
                raise InvalidQuery(f"the {noun} holds control characters", "words on one line", "type it again")
        if len(self.camera_ids) > MAX_CAMERAS:
            raise InvalidQuery(f"{len(self.camera_ids)} cameras", f"at most {MAX_CAMERAS}", "name none for all of them")
        if not 1.0 <= self.window_s <= LONGEST_WINDOW_S:
            raise InvalidQuery(
                f"a window of {self.window_s:g} s",
                f"1 to {LONGEST_WINDOW_S:g} s",
                "say for how long one alert is enough",
            )
        if not 1 <= self.daily_budget <= LARGEST_BUDGET:
            raise InvalidQuery(
                f"a budget of {self.daily_budget} alerts a day", f"1 to {LARGEST_BUDGET}", "choose how many may ring"
            )


@dataclass(frozen=True, slots=True)
class Trial:
    """What is kept of a back-test: how often the query would have raised an alert."""

    tested_at: float  # UTC seconds
    days: float
    fired: int

    @property
    def per_day(self) -> float:
        return self.fired / self.days


@dataclass(frozen=True, slots=True)
class StandingQuery:
    """A standing query as it is kept."""

    number: int  # from 1
    request: StandingRequest
    made_at: float  # UTC seconds
    margin: float = 0.0  # what its false alarms have added to what an alert needs, in log-odds
    test: Trial | None = None
    on_after: int | None = None  # it is on for identity events after this one; None: off

    @property
    def is_on(self) -> bool:
        return self.on_after is not None

    def asks_for(self, camera_id: CameraId) -> bool:
        return not self.request.camera_ids or camera_id in self.request.camera_ids


class AlertState(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    FALSE_ALARM = "false_alarm"


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it is kept. It belongs to a tracklet, and so to whomever that belongs to now."""

    number: int  # grows by one for each alert of a site
    query_number: int
    name: str
    question: str
    tracklet_id: TrackletId
    global_id: GlobalId
    camera_id: CameraId
    started_at: float
    ended_at: float
    raised_at: float
    margin: float
    confidence: float
    is_quiet: bool  # beyond the query's daily budget: no webhook was told
    state: AlertState = AlertState.OPEN
    judged_by: str | None = None
    judged_at: float | None = None
    crop_keys: tuple[BlobKey, ...] = ()  # of the tracklet, best first
