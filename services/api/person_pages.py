"""The pages of one person: where she was and why that is thought, what is wrong with it, and a report for paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Form
from pydantic import BaseModel, Field
from starlette.responses import RedirectResponse, Response

from pipeline.contracts import GlobalId, TrackletId
from pipeline.decisions import MAX_NOTE, Correction, CorrectionKind, CorrectionRequest
from pipeline.errors import InvalidQuery
from pipeline.search.people import Person
from services.api.asking import take_out_person, view_person
from services.api.correcting import add_correction
from services.api.dependencies import ApiDependencies, Dependencies
from services.api.pages import page
from services.api.questions import PageQuestion
from services.api.rights import may

router = APIRouter(include_in_schema=False)

_NEWEST_CORRECTIONS = 200  # among which those of one person are looked for
_NEWEST_SIGHTINGS = 60  # that are shown at once
_CROPS_ON_PAPER = 4  # of each stay


class CorrectionForm(BaseModel):
    """What somebody says about a person. `chosen` are sightings, each as the names of its tracklets; `other` is the
    number of another person."""

    kind: Literal["split", "not_same", "merge", "not_person"]
    chosen: list[str] = []
    other: Annotated[int | None, Field(ge=1)] = None
    note: Annotated[str, Field(max_length=MAX_NOTE)] = ""


@router.get("/people/{global_id}")
def person_page(deps: Dependencies, global_id: int, whole: bool = False) -> Response:
    """One person: the newest sightings, or all, with crops. The number of a merged person leads to the one that it
    lives on as."""
    person = view_person(deps, global_id)
    if person.global_id != global_id:
        return RedirectResponse(f"/people/{person.global_id}", status_code=302)
    corrects = may(deps.caller, "POST", "/people/{global_id}/corrections")
    return page(
        "person.html",
        deps.caller,
        person=person,
        first_shown=0 if whole else max(len(person.route) - _NEWEST_SIGHTINGS, 0),
        question=PageQuestion(),
        needs_reason=deps.needs_reason,
        corrections=_corrections_of(person, deps.corrections.corrections(_NEWEST_CORRECTIONS)) if corrects else (),
        now=deps.local_now(),
    )


@router.post("/people/{global_id}/corrections")
def correct_person(deps: Dependencies, global_id: int, form: Annotated[CorrectionForm, Form()]) -> Response:
    """Say that sightings are somebody else, or whether another person is the same; then show what comes of it."""
    made = add_correction(deps, _request(deps, GlobalId(global_id), form))
    return RedirectResponse(f"/corrections/{made.number}", status_code=303)


@router.get("/people/{global_id}/report")
def report_page(deps: Dependencies, global_id: int, with_heads: bool = False) -> Response:
    """A person for paper: who was where and when, with pictures, who made it and when. Heads are blurred by default."""
    return page(
        "report.html",
        deps.caller,
        person=take_out_person(deps, global_id, with_heads),
        site=deps.site,
        made_by=deps.maker(None),
        with_heads=with_heads,
        most_crops=_CROPS_ON_PAPER,
        zone=deps.local_now().tzname(),
        now=deps.local_now(),
    )


def _request(deps: ApiDependencies, person: GlobalId, form: CorrectionForm) -> CorrectionRequest:
    """The form as a correction. Raises `InvalidQuery` and `UnknownPerson`."""
    made_by, chosen = deps.maker(None), [tuple(TrackletId(name) for name in each.split()) for each in form.chosen]
    if form.kind == "split":
        tracklets = tuple(dict.fromkeys(name for each in chosen for name in each))
        return CorrectionRequest(CorrectionKind.SPLIT, made_by, form.note, (person,), tracklets)
    if form.kind == "not_same":
        if len(chosen) != 2 or not all(chosen):
            raise InvalidQuery(
                f"{len(chosen)} chosen sightings",
                "two, of which you say that they show two people",
                "go back and choose two; or split what you chose off",
            )
        return CorrectionRequest(CorrectionKind.NOT_SAME, made_by, form.note, (), (chosen[0][0], chosen[1][0]))
    if form.other is None:
        raise InvalidQuery("no number", "the number of the other person", "go back and write it into the field")
    other = GlobalId(form.other)
    if form.kind == "merge":
        return CorrectionRequest(CorrectionKind.MERGE, made_by, form.note, (person, other))
    pair = (_any_tracklet(deps.search.person(person)), _any_tracklet(deps.search.person(other)))
    return CorrectionRequest(CorrectionKind.NOT_SAME, made_by, form.note, (), pair)


def _any_tracklet(person: Person) -> TrackletId:
    return person.route[0].tracklet_ids[0]


def _corrections_of(person: Person, newest: Sequence[Correction]) -> list[Correction]:
    """Those that name a person or one of the tracklets, and what undoes them."""
    tracklets = {name for stay in person.route for name in stay.tracklet_ids}
    found: set[int] = set()
    for each in sorted(newest, key=lambda correction: correction.number):
        request, sides = each.request, {*each.one_side, *each.other_side}
        names_her = person.global_id in request.global_ids or not tracklets.isdisjoint(sides | {*request.tracklet_ids})
        if names_her or request.undoes in found:
            found.add(each.number)
    return [each for each in newest if each.number in found]
