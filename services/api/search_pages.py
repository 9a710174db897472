"""The pages of the search: what is asked, who answers it, and what people say of the answers.

They work without scripts, and an address holds the whole question.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Form, Query
from starlette.responses import RedirectResponse, Response

from pipeline.accounts import Role
from pipeline.errors import InvalidQuery
from pipeline.search.people import Answer
from pipeline.search.query import Filters
from services.api.asking import ask_alike, ask_picture, ask_text, filters, judge, list_people
from services.api.dependencies import ApiDependencies, Dependencies
from services.api.live_wall import shown_by
from services.api.pages import page
from services.api.problems import problem_of, status_of
from services.api.questions import TIMES, PageQuestion, QuestionForm, VerdictForm

router = APIRouter(include_in_schema=False)

EXAMPLES = (
    "woman in a red coat",
    "man with a backpack after two",
    "white shirt, no bag",
    "dark trousers in the last hour",
)
PEOPLE_PER_PAGE = 24
RECENT_PEOPLE = 6  # with four crops each they stay within the budget of the first page


@router.get("/")
def search_page(deps: Dependencies, question: Annotated[PageQuestion, Query()]) -> Response:
    """The search box, and below it the answer; without a question who was seen last, and the cameras."""
    if not question.is_asked:
        return _home(deps, question)
    return _answered(deps, question, lambda: _answer(deps, question))


@router.post("/")
def send_search(deps: Dependencies, form: Annotated[QuestionForm, Form(media_type="multipart/form-data")]) -> Response:
    """A picture is answered at once; everything else gets an address that can be kept."""
    question, picture = form.question(), form.picture
    if picture is None or not picture.filename:
        return RedirectResponse(question.address(weak=False), status_code=303)
    question.q, question.like = "", None
    asked = f"the picture {picture.filename}"
    return _answered(deps, question, lambda: ask_picture(deps, picture.file.read(), question.options()), asked)


@router.post("/verdicts")
def judge_answer(deps: Dependencies, form: Annotated[VerdictForm, Form()]) -> Response:
    """Note what somebody says about a person of an answer, and go back there."""
    judge(deps, form.q, form.global_id, form.is_right, None)
    return RedirectResponse(f"{form.address()}#person-{form.global_id}", status_code=303)


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
        question=PageQuestion(),
        needs_reason=deps.needs_reason,
        now=deps.local_now(),
    )


def _answer(deps: ApiDependencies, question: PageQuestion) -> Answer:
    if question.q.strip():
        return ask_text(deps, question.q, question.options())
    if question.like is not None:
        return ask_alike(deps, question.like, question.options())
    people, total = list_people(deps, filters(deps, question.options()), PEOPLE_PER_PAGE)
    return Answer(tuple(people), candidates=total, confident=total)


def _answered(
    deps: ApiDependencies, question: PageQuestion, ask: Callable[[], Answer], picture: str | None = None
) -> Response:
    """The page with the answer. Who is unknown is told as such, any other mistake beside the form."""
    try:
        answer = ask()
    except InvalidQuery as error:
        if status_of(error) == 404:
            raise
        return _home(deps, question, error)
    is_sentence = bool(question.q.strip())
    judges = is_sentence and deps.who.role.includes(Role.INVESTIGATOR)
    return _page(
        deps,
        "answer.html",
        question,
        answer=answer,
        picture=picture,
        chips=[(chip, question.address(q=chip.without)) for chip in answer.chips],
        verdicts=deps.search.verdicts_on(question.q) if judges else None,
    )


def _home(deps: ApiDependencies, question: PageQuestion, error: InvalidQuery | None = None) -> Response:
    people, total = list_people(deps, Filters(), RECENT_PEOPLE)
    views, trouble = shown_by(deps.board)
    return _page(
        deps,
        "home.html",
        question,
        error,
        examples=EXAMPLES,
        people=people,
        total=total,
        views=views,
        trouble=trouble,
    )


def _page(
    deps: ApiDependencies, name: str, question: PageQuestion, error: InvalidQuery | None = None, **values: object
) -> Response:
    """A page with the search form."""
    return page(
        name,
        deps.caller,
        status_of(error) if error else 200,
        question=question,
        needs_reason=deps.needs_reason,
        cameras=deps.known_cameras(),
        times=TIMES,
        problem=problem_of(error) if error else None,
        now=deps.local_now(),
        headers=None,
        **values,
    )
