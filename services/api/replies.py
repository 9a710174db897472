"""The bodies of the JSON answers. Moments are UTC seconds."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import BaseModel

from pipeline.contracts import CameraState
from pipeline.kept import Sighting
from pipeline.search.people import Answer, Person
from pipeline.search.standing import Alert, AlertState
from pipeline.search.understanding import Chip, ChipKind
from services.api.live_wall import CameraView
from services.api.words import answer_in_words, camera_in_words, camera_light

LARGEST_NUMBER = 2**63 - 1  # that a database holds
Numbered = Annotated[int, Path(ge=0, le=LARGEST_NUMBER)]


class SightingReply(BaseModel):
    """One stay before one camera."""

    camera_id: str
    started_at: float
    ended_at: float
    crops: list[str]  # addresses of JPEGs, best first
    tracklet_ids: list[str]

    @classmethod
    def of(cls, sighting: Sighting) -> SightingReply:
        return cls(
            camera_id=sighting.camera_id,
            started_at=sighting.started_at,
            ended_at=sighting.ended_at,
            crops=[crop_address(key) for key in sighting.crop_keys],
            tracklet_ids=list(sighting.tracklet_ids),
        )


class PersonReply(BaseModel):
    """One identity. `confidence` is a calibrated probability, and null where nothing was asked."""

    global_id: int
    confidence: float | None
    is_confident: bool
    first_seen_at: float
    last_seen_at: float
    crops: list[str]
    route: list[SightingReply]

    @classmethod
    def of(cls, person: Person) -> PersonReply:
        return cls(
            global_id=person.global_id,
            confidence=None if person.confidence is None else round(person.confidence, 4),
            is_confident=person.is_confident,
            first_seen_at=person.first_seen_at,
            last_seen_at=person.last_seen_at,
            crops=[crop_address(key) for key in person.crop_keys],
            route=[SightingReply.of(sighting) for sighting in person.route],
        )


class ChipReply(BaseModel):
    """Words of the question that were taken for a filter; asking `without` takes it away."""

    kind: ChipKind
    words: str
    without: str
    camera_id: str | None
    since_at: float | None
    until_at: float | None

    @classmethod
    def of(cls, chip: Chip) -> ChipReply:
        return cls(
            kind=chip.kind,
            words=chip.words,
            without=chip.without,
            camera_id=chip.camera_id,
            since_at=chip.since_at,
            until_at=chip.until_at,
        )


class SearchReply(BaseModel):
    """The answer to a search. `is_match` is false when nobody was similar enough, and `summary` says it in words."""

    is_match: bool
    summary: str
    candidates: int
    confident: int
    unknown_words: list[str]
    said: list[str] = []  # what the question asks for, thing by thing
    denied: list[str] = []  # what must not be there
    chips: list[ChipReply] = []
    people: list[PersonReply]

    @classmethod
    def of(cls, answer: Answer) -> SearchReply:
        return cls(
            is_match=answer.confident > 0,
            summary=answer_in_words(answer),
            candidates=answer.candidates,
            confident=answer.confident,
            unknown_words=list(answer.unknown_words),
            said=list(answer.said),
            denied=list(answer.denied),
            chips=[ChipReply.of(chip) for chip in answer.chips],
            people=[PersonReply.of(person) for person in answer.people],
        )


class PeopleReply(BaseModel):
    """A page of the list of identities, last seen first."""

    total: int
    people: list[PersonReply]


class PersonInViewReply(BaseModel):
    """Somebody in the newest picture. The box is in shares of the frame; no number, no identity yet."""

    box: tuple[float, float, float, float]  # x1, y1, x2, y2
    global_id: int | None


class AlertReply(BaseModel):
    """One alert, and the person to whom its tracklet belongs now. `is_quiet`: beyond the daily budget of its query, so
    no webhook was told."""

    number: int
    query_number: int
    name: str
    question: str
    global_id: int
    camera_id: str
    tracklet_id: str
    started_at: float
    ended_at: float
    raised_at: float
    confidence: float
    is_quiet: bool
    state: AlertState
    judged_by: str | None
    judged_at: float | None
    crops: list[str]

    @classmethod
    def of(cls, alert: Alert) -> AlertReply:
        return cls(
            number=alert.number,
            query_number=alert.query_number,
            name=alert.name,
            question=alert.question,
            global_id=alert.global_id,
            camera_id=alert.camera_id,
            tracklet_id=alert.tracklet_id,
            started_at=alert.started_at,
            ended_at=alert.ended_at,
            raised_at=alert.raised_at,
            confidence=round(alert.confidence, 4),
            is_quiet=alert.is_quiet,
            state=alert.state,
            judged_by=alert.judged_by,
            judged_at=alert.judged_at,
            crops=[crop_address(key) for key in alert.crop_keys],
        )


class CameraReply(BaseModel):
    """One camera as it is now."""

    camera_id: str
    state: CameraState
    light: str  # live, waiting or trouble
    summary: str
    address: str  # without credentials
    reported_at: float
    frame_at: float | None
    width_px: int
    height_px: int
    analysed_fps: float
    people: int
    reconnects: int
    detector: str
    last_error: str
    in_view: list[PersonInViewReply]

    @classmethod
    def of(cls, view: CameraView, now: float) -> CameraReply:
        status = view.status
        return cls(
            light=camera_light(status, now),
            summary=camera_in_words(status, now),
            in_view=[PersonInViewReply(box=person.box, global_id=person.global_id) for person in view.people],
            **status.model_dump(exclude={"boot_id", "in_view"}),
        )


class ReadyReply(BaseModel):
    """Whether each part works: `ok`, or what is wrong."""

    is_ready: bool
    parts: dict[str, str]


def crop_address(key: str) -> str:
    return f"/api/v1/crops/{key}"
