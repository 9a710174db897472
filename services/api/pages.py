"""The templates of the page. Every value is escaped; there is no inline script or style, so the policy forbids them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from services.api import journeys, words
from services.api.callers import ANYBODY_HERE, Caller
from services.api.replies import crop_address
from services.api.rights import may
from services.corrections import correction_in_words, state_in_words

_FOLDER = Path(__file__).parent


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        moment=words.moment_in_words,
        iso=words.iso_moment,
        duration=words.duration_in_words,
        confidence_words=words.confidence_in_words,
        share_words=words.share_in_words,
        answer_words=words.answer_in_words,
        chip_words=words.chip_in_words,
        camera_words=words.camera_in_words,
        camera_light=words.camera_light,
        crop_address=crop_address,
        offers=may,
        transits_words=words.transits_in_words,
        transits_short=words.transits_in_short,
        stamp=words.stamp,
        correction_words=correction_in_words,
        correction_state=state_in_words,
        lanes=journeys.lanes,
        gaps_s=journeys.gaps_s,
        portraits=journeys.portraits,
        camera_map=journeys.camera_map,
        lane_width=journeys.LANE_WIDTH,
        figure_words=words.figure_in_words,
        bytes_words=words.bytes_in_words,
        snapshot_address=lambda camera_id: f"/api/v1/cameras/{quote(camera_id, safe='')}/snapshot.jpg",
    )
    return environment


_ENVIRONMENT = _environment()


def page(
    name: str, caller: Caller | None, status: int = 200, headers: Mapping[str, str] | None = None, **values: object
) -> HTMLResponse:
    """The template `name` filled with `values`, for whoever is logged in."""
    values |= {"who": caller, "is_open": caller is ANYBODY_HERE}
    return HTMLResponse(_ENVIRONMENT.get_template(name).render(values), status, headers)
