"""The watcher's loop: who was just decided meets the standing queries, and alerts are kept, each exactly once.

It follows the decisions in the database and not the `identities` stream: the bus may lose and repeat, and a group that
is not always there would hold up its trimming.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline import metrics
from pipeline.errors import InvalidQuery
from pipeline.interfaces import Clock
from pipeline.search.alerts import DailyBudget, Hit, OncePerWindow, Panel, Passers, Place, hits
from pipeline.search.feedback import MAX_VERDICTS, Verdict, taught
from pipeline.search.hearing import Heard, hear
from pipeline.search.models import SearchModel
from pipeline.search.standing import StandingQuery
from pipeline.search.text_calibration import TextCalibration

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """What was decided after a place, up to `up_to_event`. `passers` lacks tracklets without a vector of the model."""

    passers: Passers
    change: int  # the number of the last change of what standing queries go by, when this was read
    up_to_event: int
    decided: int  # tracklets, with a vector or without


@dataclass(frozen=True, slots=True)
class Raised:
    """Alerts that there are: of which query, person and camera, and when they were seen; and which of them rang."""

    places: Sequence[tuple[Place, float]]
    rang: Sequence[tuple[int, float]]  # number of a query, when seen


class History(Protocol):
    """What a back-test reads: the database; a list in tests."""

    def first_event(self, since_at: float) -> int: ...

    def page(self, model_digest: str, after_event: int, limit: int) -> Page: ...


class WatchedSite(History, Protocol):
    """What the watcher reads and writes: the database."""

    def standing(self) -> tuple[int, int, list[StandingQuery]]: ...

    def last_change(self) -> int: ...

    def verdicts(self, model_digest: str, limit: int) -> list[Verdict]: ...

    def serving_model(self) -> str | None: ...

    def raised(self, found: Sequence[Hit]) -> Raised: ...

    def keep(
        self, found: Sequence[tuple[Hit, bool]], webhooks: Sequence[str], kept_place: int, place: int, raised_at: float
    ) -> bool: ...


@dataclass(frozen=True, slots=True)
class WatcherConfig:
    """One watcher process."""

    batch_tracklets: int = 256
    keep_place_every_s: float = 10.0  # where nothing is raised; what is judged again after a death raises nothing then
    false_alarm_budget: float = 0.1  # the share of alerts that may be false
    webhooks: tuple[str, ...] = ()  # names of those who are told


class Watcher:
    """Judges every decided tracklet by all standing queries at once.

    Dying at any moment loses and repeats nothing: the place in the order of decisions moves in the transaction that
    keeps the alerts. A second watcher does no harm: whoever finds that the place has moved looks again.
    """

    def __init__(
        self, site: WatchedSite, open_model: Callable[[str], SearchModel], clock: Clock, config: WatcherConfig
    ) -> None:
        """`open_model` loads the model of a digest. It is let go when it has heard the questions."""
        self._site = site
        self._open_model = open_model
        self._clock = clock
        self._config = config
        self._digest: str | None = None
        self._measured: TextCalibration | None = None  # with the model of `_digest`, before any verdict
        self._heard: dict[str, Heard | None] = {}  # questions, by the same model; None: cannot be asked any more
        self._queries: list[StandingQuery] = []  # those that are on
        self._change = -1  # up to which they are known
        self._panel: Panel | None = None  # of those that the model understands
        self._place = 0  # the last event that was looked at
        self._kept_place = 0  # the same, as the database has it
        self._kept_at_s = float("-inf")

    def run_once(self) -> bool:
        """One batch; whether there may be more to do at once. Raises `Unavailable`, and then does the same again."""
        if self._site.last_change() != self._change:
            self._read_queries()
        if not self._queries or (self._digest is None and not self._follow_model()):
            return False
        page = self._site.page(self._digest or "", self._place, self._config.batch_tracklets)
        if page.change != self._change:
            return True  # a query that was switched on meanwhile must see what came after that
        # Another model is followed here, and where vectors are missing: until then the former one judges as well.
        if page.decided == 0:
            return self._follow_model()
        if page.passers.fresh == page.decided or not self._follow_model():
            self._watch(page)
        return True

    def _read_queries(self) -> None:
        self._change, kept_place, queries = self._site.standing()
        self._queries = [query for query in queries if query.on_after is not None]
        self._panel = None
        if kept_place != self._kept_place:
            self._place = self._kept_place = kept_place
        # There is nothing to see from before any query was on.
        self._place = max(self._place, min((query.on_after or 0 for query in self._queries), default=0))

    def _follow_model(self) -> bool:
        """Compare by the serving model from now on; whether that is another one than before."""
        serving = self._site.serving_model()
        if serving is None or serving == self._digest:
            return False
        self._digest, self._measured, self._panel = serving, None, None
        self._heard.clear()
        return True

    def _watch(self, page: Page) -> None:
        passed_over = page.decided - page.passers.fresh
        if passed_over:
            log.warning("%d tracklets have no vector of model %s and raise no alert", passed_over, self._digest)
        found = hits(page.passers, self._ready_panel()) if page.passers.fresh else []
        fresh = _fresh(found, self._site.raised(found)) if found else []
        now_s = self._clock.monotonic()
        if fresh or now_s - self._kept_at_s >= self._config.keep_place_every_s:
            kept = (fresh, self._config.webhooks, self._kept_place, page.up_to_event, self._clock.now())
            if not self._site.keep(*kept):
                log.warning("another watcher is at work on this site; going on from where it is")
                self._change = -1
                return
            self._kept_place, self._kept_at_s = page.up_to_event, now_s
        self._place = page.up_to_event
        rang = sum(rings for _, rings in fresh)
        metrics.ALERTS.labels("rang").inc(rang)
        metrics.ALERTS.labels("quiet").inc(len(fresh) - rang)
        metrics.WATCHED.inc(page.decided)

    def _ready_panel(self) -> Panel:
        if self._panel is None:
            digest = self._digest or ""
            unheard = {query.request.question for query in self._queries} - self._heard.keys()
            if unheard or self._measured is None:
                model = self._open_model(digest)
                self._measured = model.config.text
                self._heard |= {question: _heard(model, question) for question in unheard}
            asked = [(query, self._heard[query.request.question]) for query in self._queries]
            understood = [(query, heard) for query, heard in asked if heard is not None and heard.is_understood]
            queries, heard = [query for query, _ in understood], [heard for _, heard in understood]
            curve = taught(self._measured, self._site.verdicts(digest, MAX_VERDICTS))
            self._panel = Panel(queries, heard, curve, self._config.false_alarm_budget)
            log.info("%d standing queries are on, %d understood", len(self._queries), len(understood))
        return self._panel


def _heard(model: SearchModel, question: str) -> Heard | None:
    """One that was kept under rules of before, and cannot be asked any more, must not stop the others."""
    try:
        return hear(model, question)
    except InvalidQuery as error:
        log.error("the standing question %r raises nothing: %s", question, error)
        return None


def _fresh(found: Sequence[Hit], raised: Raised) -> list[tuple[Hit, bool]]:
    """What is to be kept: once for a person and place within the window; each with whether it rings."""
    windows, budget = OncePerWindow(raised.places), DailyBudget(raised.rang)
    return [(hit, budget.rings(hit)) for hit in found if windows.admits(hit)]
