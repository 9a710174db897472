"""A watcher that dies, finds no database, or is not alone raises what an undisturbed one does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from pipeline.adapters.watch_book import WatchBook
from pipeline.errors import Unavailable
from pipeline.search.watching import WatchedSite
from tests.pipeline.search.watched_site import (
    look,
    many_pass,
    raised,
    two_queries,
    watched_site,
    watcher,
)
from tests.small_site import SmallSite


@pytest.fixture
def site() -> SmallSite:
    return watched_site()


class Dying:
    """A book whose owner dies after its n-th call, or only gets no answer to it."""

    def __init__(self, book: WatchBook, calls: int, death: type[BaseException]) -> None:
        self._book, self._left, self._death = book, calls, death

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._book, name)

        def called(*arguments: Any) -> Any:
            answer = method(*arguments)
            self._left -= 1
            if self._left == 0:
                raise self._death
            return answer

        return called


@pytest.fixture(scope="module")
def undisturbed() -> list[tuple[int, int, str]]:
    site = watched_site()
    two_queries(site)
    many_pass(site)
    look(watcher(site))
    return raised(site)


@pytest.mark.parametrize("calls", range(1, 11))
def test_dying_anywhere_loses_and_repeats_nothing(
    site: SmallSite, undisturbed: list[tuple[int, int, str]], calls: int
) -> None:
    two_queries(site)
    many_pass(site)
    dying = Dying(WatchBook(site.store.database), calls, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        look(watcher(site, cast(WatchedSite, dying)))
    look(watcher(site))
    assert raised(site) == undisturbed and len(undisturbed) == 11


@pytest.mark.parametrize("calls", range(1, 11))
def test_a_database_that_does_not_answer_is_asked_again(
    site: SmallSite, undisturbed: list[tuple[int, int, str]], calls: int
) -> None:
    two_queries(site)
    many_pass(site)
    away = Dying(WatchBook(site.store.database), calls, Unavailable)
    at_work = watcher(site, cast(WatchedSite, away))
    with pytest.raises(Unavailable):
        look(at_work)
    look(at_work)
    assert raised(site) == undisturbed


def test_two_watchers_together_raise_what_one_would(site: SmallSite, undisturbed: list[tuple[int, int, str]]) -> None:
    two_queries(site)
    many_pass(site)
    both = watcher(site), watcher(site)
    for _ in range(40):
        for each in both:
            each.run_once()
    assert raised(site) == undisturbed
