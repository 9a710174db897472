"""The people who were seen, and their crops."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from pipeline.contracts import BlobKey
from services.api.asking import SearchOptions, filters, list_people, view_crop, view_person
from services.api.dependencies import Dependencies
from services.api.pictures import PERSON_PLACEHOLDER, jpeg_response
from services.api.replies import PeopleReply, PersonReply
from services.exporting import without_head

router = APIRouter(prefix="/api/v1", tags=["people"])


class ListOptions(SearchOptions):
    """A page of the list: `limit` people after the first `offset`."""

    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0


@router.get("/identities")
def list_identities(deps: Dependencies, options: Annotated[ListOptions, Query()]) -> PeopleReply:
    """Everybody inside the filters, last seen first."""
    people, total = list_people(deps, filters(deps, options), options.limit, options.offset)
    return PeopleReply(total=total, people=[PersonReply.of(person) for person in people])


@router.get("/identities/{global_id}")
def show_identity(deps: Dependencies, global_id: int) -> PersonReply:
    """One person with the whole route."""
    return PersonReply.of(view_person(deps, global_id))


@router.get("/crops/{key}", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
def show_crop(
    request: Request,
    deps: Dependencies,
    key: Annotated[str, Path(pattern=r"^[0-9a-f]{40}$")],
    with_head: bool = True,
) -> Response:
    """One crop as JPEG, by its content address; without the head if asked for."""
    jpeg = view_crop(deps, BlobKey(key))
    if jpeg is not None and not with_head:
        jpeg = _concealed(jpeg)
    # A short time only: a crop that was erased must not live on in browsers.
    return jpeg_response(request, jpeg, f"crop {key}", PERSON_PLACEHOLDER, "private, max-age=300")


def _concealed(jpeg: bytes) -> bytes | None:
    try:
        return without_head(jpeg)
    except ValueError:
        return None
