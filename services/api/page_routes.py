"""The page: search, people, cameras. Rendered here, so that it works without JavaScript."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, File, Form, Query, UploadFile
from pydantic import BaseModel
from starlette.responses import RedirectResponse, Response

from pipeline.contracts import CameraStatus
from pipeline.errors import InvalidQuery, Unavailable
from pipeline.search.people import Answer
from pipeline.search.query import Filters
from pipeline.search.understanding import Chip
from services.api.asking import SearchOptions, ask_alike, ask_picture, ask_text, list_people, view_person
from services.api.dependencies import ApiDependencies, Dependencies
from services.api.pages import page
from services.api.problems import problem_of, status_of
from services.audited import MAX_REASON

router = APIRouter(include_in_schema=False)

EXAMPLES = ("woman in a red coat", "man with a backpack", "white shirt and dark trousers", "person without a bag")
PEOPLE_PER_PAGE = 24
RECENT_PEOPLE = 8


class PageQuestion(BaseModel):
    """What stands in the search form. Unlike the API's options it is read leniently: a form shows what is wrong."""

    q: str = ""
    cameras: list[str] = []
    since: str = ""
    until: str = ""
    reason: str = ""
    weak: bool = False

    def options(self, limit: int = 12) -> SearchOptions:
        return SearchOptions.model_construct(
            cameras=self.cameras,
            since=self.since,
            until=self.until,
            shortest_s=0.0,
            limit=limit,
            reason=self.reason[:MAX_REASON],
            weak=self.weak,
        )

    def address(self) -> str:
        """The address of the page with this question, without what was left empty."""
        fields = {name: value for name, value in self.model_dump(exclude={"weak"}).items() if value}
        return f"/?{urlencode(fields, doseq=True)}" if fields else "/"


class PageForm(PageQuestion):
    """The search form as it is sent."""

    picture: Annotated[UploadFile | None, File()] = None


@router.get("/")
def search_page(deps: Dependencies, question: Annotated[PageQuestion, Query()]) -> Response:
    """The search box, and below it the answer; without a question who was seen last, and the cameras."""
    if not question.q.strip():
        return _home(deps, question)
    try:
        answer = ask_text(deps, question.q, question.options())
    except InvalidQuery as error:
        return _home(deps, question, error)
    chips = [(chip, question.model_copy(update={"q": chip.without}).address()) for chip in answer.chips]
    return _answer_page(deps, question, answer, f"“{question.q}”", chips=chips)


@router.post("/")
def send_search(deps: Dependencies, form: Annotated[PageForm, Form(media_type="multipart/form-data")]) -> Response:
    """A picture is answered at once; words get an address that can be kept."""
    question = PageQuestion.model_validate(form.model_dump(exclude={"picture"}))
    if form.picture is None or not form.picture.filename:
        return RedirectResponse(question.address(), status_code=303)
    try:
        answer = ask_picture(deps, form.picture.file.read(), question.options())
    except InvalidQuery as error:
        return _home(deps, question, error)
    return _answer_page(deps, question, answer, f"the picture {form.picture.filename}")


@router.get("/people")
def people_page(deps: Dependencies, number: Annotated[int, Query(alias="page", ge=1, le=100_000)] = 1) -> Response:
    """Everybody, last seen first."""
    people, total = list_people(deps, Filters(), PEOPLE_PER_PAGE, (number - 1) * PEOPLE_PER_PAGE)
    return page(
        "people.html",
        deps.caller,
        people=people,
        total=total,
        number=number,
        pages=max(-(-total // PEOPLE_PER_PAGE), 1),
        now=deps.local_now(),
    )


@router.get("/people/{global_id}")
def person_page(deps: Dependencies, global_id: int) -> Response:
    """One person: every sighting, with crops. The number of a merged person leads to the one that it lives on as."""
    person = view_person(deps, global_id)
    if person.global_id != global_id:
        return RedirectResponse(f"/people/{person.global_id}", status_code=302)
    return page("person.html", deps.caller, person=person, needs_reason=deps.needs_reason, now=deps.local_now())


@router.get("/people/{global_id}/similar")
def similar_page(deps: Dependencies, global_id: int, reason: str = "", weak: bool = False) -> Response:
    """Other people who look like this one."""
    question = PageQuestion(reason=reason, weak=weak)
    answer = ask_alike(deps, global_id, question.options())
    return _answer_page(
        deps,
        question,
        answer,
        f"person {global_id}",
        f"/people/{global_id}/similar?{urlencode({'weak': 'true', 'reason': reason})}",
    )


@router.get("/cameras")
def cameras_page(deps: Dependencies) -> Response:
    """The camera wall."""
    statuses, trouble = _statuses(deps)
    return page("cameras.html", deps.caller, statuses=statuses, trouble=trouble, now=deps.local_now())


def _home(deps: ApiDependencies, question: PageQuestion, error: InvalidQuery | None = None) -> Response:
    people, total = list_people(deps, Filters(), RECENT_PEOPLE)
    statuses, trouble = _statuses(deps)
    return page(
        "home.html",
        deps.caller,
        status_of(error) if error else 200,
        question=question,
        needs_reason=deps.needs_reason,
        cameras=deps.known_cameras(),
        examples=EXAMPLES,
        problem=problem_of(error) if error else None,
        people=people,
        total=total,
        statuses=statuses,
        trouble=trouble,
        now=deps.local_now(),
    )


def _answer_page(
    deps: ApiDependencies,
    question: PageQuestion,
    answer: Answer,
    asked: str,
    weak_address: str | None = None,
    chips: Sequence[tuple[Chip, str]] = (),
) -> Response:
    if weak_address is None and question.q:
        weak_address = f"{question.address()}&weak=true"
    return page(
        "answer.html",
        deps.caller,
        question=question,
        needs_reason=deps.needs_reason,
        cameras=deps.known_cameras(),
        problem=None,
        answer=answer,
        asked=asked,
        chips=chips,
        weak_address=None if question.weak else weak_address,
        now=deps.local_now(),
    )


def _statuses(deps: ApiDependencies) -> tuple[list[CameraStatus], str]:
    """The cameras by name, and why they cannot be told."""
    try:
        return sorted(deps.board.statuses(), key=lambda status: status.camera_id), ""
    except Unavailable as error:
        return [], str(error)
