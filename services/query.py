"""`sightline query`: asks the database directly, so that no API needs to run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from pipeline.adapters.clock import SystemClock
from pipeline.audit import AuditAction
from pipeline.contracts import BlobKey, CameraId
from pipeline.errors import ConfigurationError, InvalidQuery
from pipeline.runtimes.machine import processor_precisions
from pipeline.search.crowd import Means
from pipeline.search.models import SearchConfig, SearchModel
from pipeline.search.moments import parse_span
from pipeline.search.people import Answer, PeopleSearch, SearchStore
from pipeline.search.query import Calibration, Filters
from pipeline.search.text_calibration import FALSE_ANSWERS, TextCalibration
from services.api.words import answer_in_words
from services.audited import record_at_terminal, stated
from services.local_zone import local_zone
from services.runtime import open_blobs, open_store
from services.settings import Settings
from services.site_models import SiteModels

if TYPE_CHECKING:
    from pipeline.adapters.store import SqlStore
    from reid_models.manifest import Calibration as ModelCalibration
    from reid_models.serving.encoder import ServedEncoder

# Nobody is called a match by a model whose similarities were never measured; the closest can still be asked for.
_UNCALIBRATED = Calibration(slope=0.0, intercept=0.0, threshold=float("inf"))
_UNCALIBRATED_TEXT = TextCalibration(
    slope=0.0, intercept=0.0, per_word=0.0, thing_slope=20.0, thing_intercept=0.0, least=float("inf")
)


class RouteStop(BaseModel):
    """One stay before one camera; moments are UTC seconds."""

    camera_id: str
    started_at: float
    ended_at: float
    tracklet_ids: list[str]


class PersonFound(BaseModel):
    """One identity of an answer. `confidence` is a calibrated probability; null where the question describes nobody."""

    global_id: int
    confidence: float | None
    is_confident: bool
    first_seen_at: float
    last_seen_at: float
    route: list[RouteStop]
    crops: list[str]  # where the best crops lie, best first


class FilterFound(BaseModel):
    """Words of the question that were taken for a place or a time."""

    words: str
    camera_id: str | None
    since_at: float | None
    until_at: float | None


class QueryAnswer(BaseModel):
    """What a question found. `is_match` is false when nobody was similar enough; then `people` are weak candidates."""

    question: str
    is_match: bool
    summary: str
    candidates: int
    unknown_words: list[str]
    filters: list[FilterFound]
    people: list[PersonFound]


def query_words(
    settings: Settings,
    sentence: str,
    *,
    cameras: Sequence[str] = (),
    since: str | None = None,
    until: str | None = None,
    limit: int = 10,
    with_weak: bool = False,
    reason: str = "",
) -> QueryAnswer:
    """Ask the database of `settings` with its model; that it was asked is recorded.

    Raises `InvalidQuery` for a question that cannot be asked."""
    check_database(settings.database)
    _record(settings, sentence, reason, {"cameras": list(cameras), "since": since, "until": until})
    store, blobs = open_store(settings), open_blobs(settings)
    try:
        return run_query(
            open_search(settings, store),
            sentence,
            cameras=cameras,
            known_cameras=[camera.id for camera in settings.cameras],
            since=since,
            until=until,
            limit=limit,
            with_weak=with_weak,
            now=datetime.fromtimestamp(SystemClock().now(), UTC).astimezone(local_zone()),
            location=blobs.location,
        )
    finally:
        store.close()


def _record(settings: Settings, sentence: str, reason: str, narrowed: dict[str, Any]) -> None:
    why = stated(reason, settings.api.search_reason)
    said = {name: value for name, value in narrowed.items() if value}
    record_at_terminal(settings, AuditAction.SEARCH, sentence, {"kind": "text", "reason": why, **said})


def run_query(
    search: PeopleSearch,
    sentence: str,
    *,
    cameras: Sequence[str],
    known_cameras: Sequence[str],
    since: str | None,
    until: str | None,
    limit: int,
    with_weak: bool,
    now: datetime,
    location: Callable[[BlobKey], str],
) -> QueryAnswer:
    """The same on an opened search. `now` carries the time zone of the site; `location` tells where a crop lies."""
    since_at, until_at = parse_span(since, until, now)
    known = sorted({*known_cameras, *(search.cameras() if cameras else ())})
    for camera in cameras:
        if camera not in known:
            raise InvalidQuery(
                f"camera {camera!r} is unknown", f"one of {', '.join(known) or '(none yet)'}", "correct the name"
            )
    filters = Filters(frozenset(CameraId(name) for name in cameras), since_at, until_at)
    named = [CameraId(name) for name in sorted({*known_cameras, *search.cameras()})]
    answer = search.by_words(sentence, filters, named, now, limit, with_weak)
    return _told(sentence, answer, location)


def open_search(settings: Settings, store: SqlStore) -> PeopleSearch:
    """The search with the serving model; loading it takes seconds."""
    model = serving_search_model(settings, store)
    return PeopleSearch(store, lambda: model)


def serving_search_model(settings: Settings, store: SqlStore) -> SearchModel:
    """The serving model, at the very beginning the wanted one; loading it takes seconds."""
    site, switches = SiteModels(settings), store.model_switches(1)
    encoder = site.load(switches[0].model_digest) if switches else site.load_wanted()
    return search_model(store, encoder, settings.search.false_answers)


def search_model(store: SearchStore, encoder: ServedEncoder, false_answers: float) -> SearchModel:
    """A loaded model at work in the search. `false_answers` is the share that the settings allow."""
    config = search_config(encoder.calibration, false_answers)
    model = SearchModel(store, encoder, config, encoder.unknown_words, fast_means)
    model.listen(store)
    return model


def fast_means() -> Means | None:
    """Means in bfloat16 where the processor multiplies in it; elsewhere they would be slower."""
    if "bf16" not in processor_precisions():
        return None
    from pipeline.adapters.half_means import HalfMeans

    return HalfMeans()


def search_config(measured: ModelCalibration | None, false_answers: float = FALSE_ANSWERS) -> SearchConfig:
    """What the model's validation says about its similarities, and from where on they answer a question in words."""
    if measured is None:
        return SearchConfig(text=_UNCALIBRATED_TEXT, appearance=_UNCALIBRATED)
    appearance = measured.appearance
    return SearchConfig(
        _text_calibration(measured).answering(false_answers),
        Calibration(appearance.slope, appearance.intercept, measured.appearance_threshold),
    )


def _text_calibration(measured: ModelCalibration) -> TextCalibration:
    if measured.words is not None:
        return TextCalibration(**measured.words.model_dump(exclude={"measured_on"}))
    curve, threshold = measured.language, measured.language_threshold
    if curve is None or threshold is None:
        return _UNCALIBRATED_TEXT
    # Of single pairs: where the search was not measured with this model, they are the nearest to it.
    return TextCalibration(curve.slope, curve.intercept, 0.0, curve.slope, 0.0, curve.probability(threshold))


def check_database(url: str) -> None:
    """Asking must not create an empty database beside a mistyped folder, and then find nobody in it."""
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).exists():
        raise ConfigurationError(
            f"there is no database at {path}; expected one that `sightline up` has filled: "
            "start it, or give its --data-dir"
        )


def _told(question: str, answer: Answer, location: Callable[[BlobKey], str]) -> QueryAnswer:
    return QueryAnswer(
        question=question,
        is_match=answer.confident > 0,
        summary=answer_in_words(answer),
        candidates=answer.candidates,
        unknown_words=list(answer.unknown_words),
        filters=[
            FilterFound(words=c.words, camera_id=c.camera_id, since_at=c.since_at, until_at=c.until_at)
            for c in answer.chips
        ],
        people=[
            PersonFound(
                global_id=person.global_id,
                confidence=None if person.confidence is None else round(person.confidence, 4),
                is_confident=person.is_confident,
                first_seen_at=person.first_seen_at,
                last_seen_at=person.last_seen_at,
                route=[
                    RouteStop(
                        camera_id=stay.camera_id,
                        started_at=stay.started_at,
                        ended_at=stay.ended_at,
                        tracklet_ids=list(stay.tracklet_ids),
                    )
                    for stay in person.route
                ],
                crops=[location(key) for key in person.crop_keys],
            )
            for person in answer.people
        ],
    )
