"""What stands in the search form, and the address that holds all of it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import File, UploadFile
from pydantic import BaseModel

from services.api.asking import SearchOptions
from services.audited import MAX_REASON

# name → words, since, until
TIMES = {
    "any": ("Any time", "", ""),
    "15m": ("Last 15 minutes", "15m", ""),
    "1h": ("Last hour", "1h", ""),
    "today": ("Today", "today", ""),
    "yesterday": ("Yesterday", "yesterday", "today"),
}


class PageQuestion(BaseModel):
    """A question to the page. Unlike the API's options it is read leniently: a form shows what is wrong.

    Words count before `like`, the number of a person to whom others shall be alike; with neither everybody is meant
    whom cameras and time leave.
    """

    q: str = ""
    like: int | None = None
    cameras: list[str] = []
    since: str = ""
    until: str = ""
    reason: str = ""
    weak: bool = False

    @property
    def has_filters(self) -> bool:
        return bool(self.cameras or self.since or self.until)

    @property
    def is_asked(self) -> bool:
        """Whether there is anything to answer."""
        return bool(self.q.strip() or self.like is not None or self.has_filters)

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

    def address(self, **changes: object) -> str:
        """The address of the page with this question, or a changed one, without what is empty."""
        asked = self.model_copy(update=changes)
        if asked.q.strip():
            asked.like = None
        fields = {name: value for name in PageQuestion.model_fields if (value := getattr(asked, name))}
        if fields.pop("weak", False):
            fields["weak"] = "true"
        return f"/?{urlencode(fields, doseq=True)}" if fields else "/"


class QuestionForm(PageQuestion):
    """The search form as it is sent. `when` is a button with a name of `TIMES`, and counts before both fields."""

    picture: Annotated[UploadFile | None, File()] = None
    when: str = ""

    def question(self) -> PageQuestion:
        """What is asked, without the picture."""
        asked = PageQuestion.model_validate(self.model_dump(include=set(PageQuestion.model_fields)))
        if self.when in TIMES:
            _, asked.since, asked.until = TIMES[self.when]
        return asked


class VerdictForm(PageQuestion):
    """What somebody says about one person of an answer, and the question that it answered."""

    global_id: int
    is_right: bool
