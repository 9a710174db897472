"""One way to ask for every door: the JSON endpoints and the page read the same options and count the same metrics."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pipeline import metrics
from pipeline.audit import AuditAction
from pipeline.contracts import BlobKey, CameraId, GlobalId
from pipeline.errors import InvalidQuery, SightlineError
from pipeline.search.moments import parse_span
from pipeline.search.people import Answer, Look, Person
from pipeline.search.query import Filters
from pipeline.search.wording import MAX_QUERY_CHARACTERS
from services.api.dependencies import ApiDependencies
from services.api.uploads import read_picture
from services.audited import MAX_REASON, stated

_MOMENT_HELP = "14:00, 30m, 2h, yesterday 18:30, or an ISO time; clock times in the time zone of the site"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class SearchOptions(BaseModel):
    """What narrows a search."""

    model_config = ConfigDict(extra="forbid")

    cameras: Annotated[
        list[Annotated[str, Field(max_length=64)]],
        Field(max_length=1000, description="Only these cameras; none means all"),
    ] = []
    since: Annotated[str | None, Field(max_length=60, description=_MOMENT_HELP)] = None
    until: Annotated[str | None, Field(max_length=60, description=_MOMENT_HELP)] = None
    shortest_s: Annotated[float, Field(ge=0, le=86_400, description="Only people in view for at least so long")] = 0.0
    limit: Annotated[int, Field(ge=1, le=100)] = 12
    reason: Annotated[
        str | None, Field(max_length=MAX_REASON, description="Why; kept in the audit log. The site may require it")
    ] = None
    weak: Annotated[bool, Field(description="Also return people who are not similar enough, marked as such")] = False


class TextQuestion(SearchOptions):
    """A description of a person."""

    q: Annotated[str, Field(max_length=MAX_QUERY_CHARACTERS, description="For example: woman in a red coat")]


def ask_text(deps: ApiDependencies, question: str, options: SearchOptions) -> Answer:
    """People who fit a description; places and times in it are filters. Raises `InvalidQuery`."""
    words = _CONTROL.sub(" ", question)
    return _counted(
        deps,
        "text",
        lambda: deps.search.by_words(
            words,
            _asked(deps, "text", words, options),
            deps.known_cameras(),
            deps.local_now(),
            options.limit,
            options.weak,
        ),
    )


def ask_picture(deps: ApiDependencies, content: bytes, options: SearchOptions) -> Answer:
    """People who look like the one in an encoded picture. Raises `InvalidQuery`."""

    def ask() -> Answer:
        picture, chosen = read_picture(content), _asked(deps, "image", f"a picture of {len(content)} bytes", options)
        return deps.search.by_image(picture, chosen, options.limit, options.weak)

    return _counted(deps, "image", ask)


def ask_alike(deps: ApiDependencies, global_id: int, options: SearchOptions) -> Answer:
    """Other people who look like a known one. Raises `InvalidQuery`."""

    def ask() -> Answer:
        chosen = _asked(deps, "identity", f"person {global_id}", options)
        return deps.search.by_identity(GlobalId(global_id), chosen, options.limit, options.weak)

    return _counted(deps, "identity", ask)


def ask_look(deps: ApiDependencies, look: Look, options: SearchOptions) -> Answer:
    """People who look like one of another site. Raises `InvalidQuery`."""

    def ask() -> Answer:
        chosen = _asked(deps, "look", "a look of another site", options)
        return deps.search.by_look(look, chosen, options.limit, options.weak)

    return _counted(deps, "look", ask)


def record_elsewhere(deps: ApiDependencies, global_id: int, options: SearchOptions) -> None:
    """That other sites are asked for a person. Raises `InvalidQuery` where a reason is missing."""
    _record(deps, "elsewhere", f"person {global_id}", options)


def judge(deps: ApiDependencies, question: str, global_id: int, is_right: bool, made_by: str | None) -> int:
    """Note whether a person fits a question; returns how many verdicts count now. Raises `InvalidQuery`."""
    words, cameras = _CONTROL.sub(" ", question), deps.known_cameras()
    said = deps.search.say(words, GlobalId(global_id), is_right, deps.maker(made_by), cameras, deps.local_now())
    deps.record(AuditAction.CORRECTION, f"person {global_id}", {"answer": "right" if is_right else "wrong"})
    return said


def view_person(deps: ApiDependencies, global_id: int) -> Person:
    """A person with the whole route; that it was looked at is recorded. Raises `UnknownPerson`."""
    person = deps.search.person(GlobalId(global_id))
    deps.record(AuditAction.VIEW, f"person {person.global_id}")
    deps.showed((person.global_id,))
    return person


def view_crop(deps: ApiDependencies, key: BlobKey) -> bytes | None:
    """A crop as JPEG; that it was looked at is recorded, unless something recorded has just shown the same person."""
    jpeg = deps.blobs.get(key)
    if jpeg is not None:
        for person in deps.crop_views.unrecorded(deps.who.name, key):
            deps.record(AuditAction.VIEW, f"person {person}", {"as": "crop"})
            deps.showed((person,))
    return jpeg


def take_out_person(deps: ApiDependencies, global_id: int, with_heads: bool) -> Person:
    """A person for a report that leaves the house; that it was made is recorded. Raises `UnknownPerson`."""
    person = deps.search.person(GlobalId(global_id))
    deps.record(AuditAction.EXPORT, f"person {person.global_id}", {"as": "report", "with_heads": with_heads})
    deps.showed((person.global_id,))
    return person


def list_people(deps: ApiDependencies, chosen: Filters, limit: int, offset: int = 0) -> tuple[list[Person], int]:
    """Everybody inside the filters, last seen first, and how many; that it was looked at is recorded."""
    deps.record(AuditAction.VIEW, "the list of people", {"offset": offset, "limit": limit})
    people, total = deps.search.recent(chosen, limit, offset)
    deps.showed(person.global_id for person in people)
    return people, total


def filters(deps: ApiDependencies, options: SearchOptions) -> Filters:
    """The options as filters. Raises `InvalidQuery` for an unreadable time or an unknown camera."""
    since_at, until_at = parse_span(options.since, options.until, deps.local_now())
    known = deps.known_cameras() if options.cameras else []
    for camera in options.cameras:
        if camera not in known:
            raise InvalidQuery(
                f"camera {camera[:64]!r} is unknown",
                f"one of {', '.join(known)}" if known else "a camera, but none has reported yet",
                "correct the name, or leave it out to search all cameras",
            )
    return Filters(frozenset(CameraId(name) for name in options.cameras), since_at, until_at, options.shortest_s)


def _asked(deps: ApiDependencies, kind: str, asked: str, options: SearchOptions) -> Filters:
    """The filters of a search that can be asked, once it is recorded. Raises `InvalidQuery`."""
    chosen = filters(deps, options)
    _record(deps, kind, asked, options)
    return chosen


def _record(deps: ApiDependencies, kind: str, asked: str, options: SearchOptions) -> None:
    """What is not recorded is not answered. Raises `MissingReason`."""
    reason = stated(options.reason, deps.needs_reason)
    narrowed = options.model_dump(include={"cameras", "since", "until", "shortest_s"}, exclude_defaults=True)
    deps.record(AuditAction.SEARCH, asked, {"kind": kind, "reason": reason, **narrowed})


def _counted(deps: ApiDependencies, kind: str, ask: Callable[[], Answer]) -> Answer:
    started = time.perf_counter()
    try:
        answer = ask()
    except SightlineError:
        metrics.QUERIES.labels(kind, "error").inc()
        raise
    metrics.QUERIES.labels(kind, "answered" if answer.confident else "no_match").inc()
    metrics.QUERY_SECONDS.labels(kind).observe(time.perf_counter() - started)
    deps.showed(person.global_id for person in answer.people)
    return answer
