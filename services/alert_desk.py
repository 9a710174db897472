"""Standing queries and alerts for people: what the API and the command line do with them, and how both tell of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.standing_book import StandingBook
from pipeline.adapters.watch_book import WatchBook
from pipeline.contracts import CameraId
from pipeline.errors import InvalidQuery
from pipeline.interfaces import Clock
from pipeline.search.back_test import BackTest, back_test
from pipeline.search.hearing import hear
from pipeline.search.models import SearchModel
from pipeline.search.standing import AlertState, StandingQuery, StandingRequest, Trial
from pipeline.search.understanding import ChipKind, understand
from pipeline.search.wording import describes
from services.query import serving_search_model
from services.settings import Settings

if TYPE_CHECKING:
    from pipeline.adapters.store import SqlStore

LONGEST_TEST_DAYS = 31.0
USUAL_TEST_DAYS = 7.0


class AlertDesk:
    """Keeps standing queries, tries them on the history, switches them on, and hears what people say of alerts."""

    def __init__(
        self,
        book: StandingBook,
        history: WatchBook,
        model: Callable[[], SearchModel],
        clock: Clock,
        false_alarm_budget: float,
    ) -> None:
        """`model` gives the one that answers searches now; loading it may take seconds."""
        self.book = book
        self._history = history
        self._model = model
        self._clock = clock
        self._false_alarm_budget = false_alarm_budget

    def checked(self, request: StandingRequest, known_cameras: Sequence[CameraId]) -> StandingRequest:
        """The request as it can stand: places that its question names are its cameras.

        Raises `InvalidQuery` for a camera that is not known, for a time in the question, and for words of which the
        model understands too little.
        """
        request.check()
        _refuse_unknown(request, known_cameras)
        placed = _placed(request, known_cameras, datetime.fromtimestamp(self._clock.now(), UTC))
        _refuse_unheard(self._model(), placed.question)
        return placed

    def add(self, request: StandingRequest) -> int:
        """Keep a `checked` query, which is off; returns its number."""
        return self.book.add(request, self._clock.now())

    def test(self, number: int, days: float = USUAL_TEST_DAYS) -> BackTest:
        """Try a query on the last days, and keep how often it would have raised an alert."""
        if not 0.0 < days <= LONGEST_TEST_DAYS:
            raise InvalidQuery(
                f"a back-test over {days:g} days", f"more than 0 and at most {LONGEST_TEST_DAYS:g}", "choose fewer"
            )
        query, now = self.book.query(number), self._clock.now()
        found = back_test(self._history, self._model(), query, now, days, self._false_alarm_budget)
        self.book.note_test(number, Trial(now, days, found.fired))
        return found

    def switch_on(self, number: int) -> None:
        """Let a query raise alerts from now on. Raises `InvalidQuery` for one that was not tried, or that would ring
        more often than its budget."""
        query = self.book.query(number)
        if query.test is None:
            raise InvalidQuery(
                f"standing query {number} was never tried",
                "a back-test of what it would have done",
                f"run `sightline alerts test {number}` first",
            )
        budget = query.request.daily_budget
        if query.test.per_day > budget:
            raise InvalidQuery(
                f"standing query {number} would have raised {query.test.per_day:.0f} alerts a day",
                f"at most its budget of {budget}",
                "describe the person more closely, name cameras, or add it anew with a larger budget",
            )
        self.book.switch_on(number)

    def judge(self, number: int, state: AlertState, by: str) -> None:
        """Say of an alert that it was seen to, and its query stays as it is; or that it showed somebody else, and from
        now on its query asks for more."""
        self.book.judge(number, state, by, self._clock.now(), self._false_alarm_budget)


def open_desk(settings: Settings, store: SqlStore) -> AlertDesk:
    """The desk of a command, which loads the model only where it needs one."""
    books = StandingBook(store.database), WatchBook(store.database)
    model = cache(lambda: serving_search_model(settings, store))
    return AlertDesk(*books, model, SystemClock(), settings.alerts.false_alarm_budget)


def outcome_in_words(fired: int, days: float) -> str:
    """`Would have raised 3 alerts in the last 7 days.`"""
    alerts = "no alert" if fired == 0 else "1 alert" if fired == 1 else f"{fired} alerts"
    span = "day" if days == 1 else f"{days:g} days"
    return f"Would have raised {alerts} in the last {span}."


def query_in_words(query: StandingQuery) -> str:
    """What is asked, and where."""
    cameras = ", ".join(query.request.camera_ids) or "every camera"
    return f"“{query.request.question}” at {cameras}"


def _placed(request: StandingRequest, known_cameras: Sequence[CameraId], now: datetime) -> StandingRequest:
    understood = understand(request.question, known_cameras, now)
    for chip in understood.chips:
        if chip.kind is ChipKind.TIME:
            raise InvalidQuery(
                f"the time {chip.words!r} in a question that stands",
                "how somebody looks, and where: it is asked whenever somebody comes",
                f"leave the time out: {chip.without!r}",
            )
    question = understood.description if understood.chips else request.question
    if not describes(question):
        raise InvalidQuery(
            "a question that describes nobody", "how somebody looks", 'ask, for example, "woman in a red coat"'
        )
    named = (chip.camera_id for chip in understood.chips if chip.camera_id is not None)
    return replace(request, question=question, camera_ids=tuple(dict.fromkeys((*request.camera_ids, *named))))


def _refuse_unknown(request: StandingRequest, known_cameras: Sequence[CameraId]) -> None:
    for camera in request.camera_ids:
        if camera not in known_cameras:
            raise InvalidQuery(
                f"camera {camera[:64]!r} is unknown",
                f"one of {', '.join(known_cameras) or '(none yet)'}",
                "correct the name, or name none for all cameras",
            )


def _refuse_unheard(model: SearchModel, question: str) -> None:
    heard = hear(model, question)
    if not heard.is_understood:
        words = ", ".join(repr(word) for word in heard.unknown_words)
        raise InvalidQuery(
            f"the model does not know {words}", "a description in words that it has met", "say it in other words"
        )
