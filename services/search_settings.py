"""The part of the settings that says how the search answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pipeline.search.text_calibration import FALSE_ANSWERS


class SearchSettings(BaseModel):
    """Questions in words, by the API, the page and `sightline query`; standing queries ask for no less."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The share of questions about people who are not there that may be answered with somebody all the same.
    false_answers: Annotated[float, Field(ge=0.01, le=0.5)] = FALSE_ANSWERS
