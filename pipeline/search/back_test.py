"""How often a standing query would have raised an alert: the watcher's own rules over the history."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from pipeline.search.alerts import Hit, OncePerWindow, Panel, hits
from pipeline.search.hearing import hear
from pipeline.search.models import SearchModel
from pipeline.search.standing import StandingQuery
from pipeline.search.watching import History

DAY_S = 86_400.0
_PAGE_TRACKLETS = 4096


@dataclass(frozen=True, slots=True)
class BackTest:
    """What a query would have done. People are who they are known to be today."""

    days: float
    tracklets: int  # that were judged
    fired: int
    hits: tuple[Hit, ...]  # the newest, newest first
    unknown_words: tuple[str, ...]


def back_test(
    history: History,
    model: SearchModel,
    query: StandingQuery,
    now: float,
    days: float,
    false_alarm_budget: float,
    most_hits: int = 50,
) -> BackTest:
    """Let `query` watch the last `days` again, page by page: some 20,000 tracklets for each second of a processor."""
    heard = hear(model, query.request.question)
    since_at = now - days * DAY_S
    place = history.first_event(since_at)
    panel = Panel([replace(query, on_after=place)], [heard], model.words, false_alarm_budget)
    windows = OncePerWindow()
    newest: deque[Hit] = deque(maxlen=most_hits)
    tracklets = fired = 0
    while (page := history.page(model.digest, place, _PAGE_TRACKLETS)).decided:
        tracklets += page.passers.fresh
        for hit in hits(page.passers, panel) if heard.is_understood else []:
            if hit.ended_at >= since_at and windows.admits(hit):
                newest.append(hit)
                fired += 1
        place = page.up_to_event
    return BackTest(days, tracklets, fired, tuple(reversed(newest)), heard.unknown_words)
