"""The watcher on a real database: nothing missed, nothing said twice, whatever happens between two steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from pipeline.adapters.standing_book import AlertFilter
from pipeline.adapters.watch_book import WatchBook
from pipeline.contracts import GlobalId, IdentityEventKind
from pipeline.decisions import Revision
from pipeline.errors import Unavailable
from pipeline.search.alerts import Panel, hits
from pipeline.search.feedback import Verdict
from pipeline.search.hearing import hear
from pipeline.search.models import SearchConfig, SearchModel
from pipeline.search.people import PeopleSearch
from pipeline.search.query import Filters
from pipeline.search.standing import AlertState, StandingQuery, StandingRequest
from pipeline.search.watching import WatchedSite
from tests.fakes import DIGEST, painted
from tests.pipeline.search.watched_site import (
    comes,
    look,
    many_pass,
    open_model,
    raised,
    stand,
    watched_site,
    watcher,
)
from tests.small_site import CALIBRATION, COLOURS, NOW, WORDS, SmallSite, Stay, WardrobeEncoder, small_site


@pytest.fixture
def site() -> SmallSite:
    return watched_site()


def test_whoever_comes_after_a_query_was_switched_on_is_told_of_once(site: SmallSite) -> None:
    number = stand(site)
    at_work = watcher(site)
    for ago_s in (1500.0, 1480.0, 1460.0):
        comes(site, 1, "lobby", ago_s)
        comes(site, 2, "lobby", ago_s - 5.0, "blue")
    look(at_work)
    comes(site, 1, "yard", 1300.0)
    comes(site, 4, "yard", 1290.0)
    look(at_work)
    assert raised(site) == [(number, 1, "lobby"), (number, 1, "yard"), (number, 4, "yard")]
    comes(site, 1, "lobby", 1500.0 - 601.0)
    look(at_work)
    assert raised(site)[3:] == [(number, 1, "lobby")]


def test_a_query_with_cameras_tells_of_those_alone(site: SmallSite) -> None:
    stand(site, cameras="yard")
    comes(site, 1, "lobby", 500.0)
    comes(site, 1, "yard", 400.0)
    look(watcher(site))
    assert raised(site) == [(1, 1, "yard")]


def test_switching_off_and_on_tells_of_what_is_decided_while_it_is_on(site: SmallSite) -> None:
    number, at_work, book = stand(site, window_s=1.0), watcher(site), site.alerts.book
    comes(site, 1, "lobby", 500.0)
    look(at_work)
    book.switch_off(number)
    comes(site, 1, "lobby", 400.0)
    look(at_work)
    comes(site, 1, "lobby", 300.0)
    book.switch_on(number)
    comes(site, 1, "lobby", 200.0)
    look(at_work)
    comes(site, 1, "lobby", 100.0)
    look(at_work)
    assert [alert.ended_at for alert in reversed(book.alerts(AlertFilter(), 9))] == [
        NOW - 492.0,
        NOW - 192.0,
        NOW - 92.0,
    ]


def test_a_query_that_is_switched_on_while_others_are_watched_sees_what_came_after(site: SmallSite) -> None:
    """Between reading the queries and reading what was decided there is no gap."""
    stand(site)
    book = WatchBook(site.store.database)

    class Between:
        """Lets another query stand, and somebody pass, in the middle of a step."""

        def __getattr__(self, name: str) -> Any:
            return getattr(book, name)

        def page(self, *arguments: Any) -> Any:
            if len(site.alerts.book.queries()) == 1:
                stand(site, "blue coat")
                comes(site, 2, "lobby", 100.0, "blue")
            return book.page(*arguments)

    comes(site, 1, "lobby", 200.0)
    look(watcher(site, cast(WatchedSite, Between())))
    assert raised(site) == [(1, 1, "lobby"), (2, 2, "lobby")]


def test_merged_people_are_one_and_told_of_once(site: SmallSite) -> None:
    stand(site)
    at_work = watcher(site)
    comes(site, 7, "lobby", 500.0)
    look(at_work)
    merge = Revision(IdentityEventKind.MERGED, GlobalId(7), GlobalId(1), 1.0, "one coat")
    site.store.commit_decisions((), NOW, [merge])
    comes(site, 1, "lobby", 400.0)
    look(at_work)
    assert raised(site) == [(1, 1, "lobby")]


def test_a_false_alarm_is_obeyed_at_once(site: SmallSite) -> None:
    number, at_work = stand(site, window_s=1.0), watcher(site)
    comes(site, 8, "lobby", 500.0, "rust")
    look(at_work)
    (alert,) = site.alerts.book.alerts(AlertFilter(number), 9)
    assert 0.0 < alert.margin < 0.4
    site.alerts.judge(alert.number, AlertState.FALSE_ALARM, "anna")
    comes(site, 8, "lobby", 400.0, "rust")
    comes(site, 1, "lobby", 300.0)
    look(at_work)
    assert raised(site) == [(number, 8, "lobby"), (number, 1, "lobby")]
    site.alerts.judge(alert.number, AlertState.ACKNOWLEDGED, "anna")
    comes(site, 8, "lobby", 200.0, "rust")
    look(at_work)
    assert raised(site)[2:] == [(number, 8, "lobby")]


QUESTIONS = ("red coat", "red coat, no black jacket", "woman in a red coat without a black jacket, no blue shirt")


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("verdicts", [0, 60])
def test_a_standing_query_and_a_search_agree_on_who_is_meant_and_how_surely(question: str, verdicts: int) -> None:
    red, black = np.array(COLOURS["red"]), np.array(COLOURS["black"])
    looks = [painted((*(red + share * (black - red)).astype(int).tolist(),)) for share in (0.0, 0.2, 0.4, 0.6, 0.8)]
    looks += [painted(colour) for colour in COLOURS.values()]
    stays = [
        Stay(1 + person, "lobby", 900.0 - 10.0 * number - 0.5 * person, looks[(person + number * (person % 3)) % 11])
        for person in range(len(looks))
        for number in range(1 + person % 5)
    ]
    site = small_site(stays)
    say(site, verdicts, is_right=False)
    config = SearchConfig(replace(WORDS, thing_intercept=-12.0), CALIBRATION)
    model = SearchModel(site.store, site.encoder, config, site.encoder.unknown_words)
    model.listen(site.store)
    passers = WatchBook(site.store.database).page(DIGEST, 0, 1000).passers

    def meant(margin: float) -> dict[int, float]:
        """Who is meant, by all their tracklets: each one's last hit counts."""
        standing = StandingQuery(1, StandingRequest(question, "red", "anna"), NOW, margin, on_after=0)
        panel = Panel([standing], [hear(model, question)], model.words, false_alarm_budget=0.5)
        return {hit.global_id: hit.confidence for hit in hits(passers, panel) if hit.tracklet_id in last}

    last = {passers.global_ids[row]: passers.tracklet_ids[row] for row in range(len(passers))}.values()
    found = PeopleSearch(site.store, lambda: model).by_text(question, Filters(), 100, with_weak=True).people
    everybody = meant(margin=-1000.0)
    # A search judges exactly whoever may be a match, and leaves out others.
    told = {person.global_id: person.confidence for person in found}
    assert {person: everybody[person] for person in told} == pytest.approx(told, rel=1e-6)
    matches = {person.global_id for person in found if person.is_confident}
    assert meant(margin=0.0).keys() == matches
    assert len(everybody) == 11 and len(told) >= 4 and (verdicts or 0 < len(matches) < len(told))


def test_what_is_said_of_answers_counts_for_standing_queries_at_once(site: SmallSite) -> None:
    number, at_work = stand(site, window_s=1.0), watcher(site)
    comes(site, 8, "lobby", 500.0, "rust")
    look(at_work)
    assert raised(site) == [(number, 8, "lobby")]
    say(site, 60, is_right=False)
    comes(site, 8, "lobby", 400.0, "rust")
    look(at_work)
    assert len(raised(site)) == 1
    say(site, 60, is_right=True)
    comes(site, 8, "lobby", 300.0, "rust")
    look(at_work)
    assert len(raised(site)) == 2


def say(site: SmallSite, count: int, is_right: bool) -> None:
    """The same of so many answers, of which the model was rather sure."""
    for person in range(count):
        verdict = Verdict("red coat", GlobalId(person), 2.5, is_right, "anna", NOW + person)
        site.store.keep_verdict(DIGEST, verdict)


def test_beyond_the_daily_budget_alerts_are_quiet(site: SmallSite) -> None:
    request = StandingRequest("red coat", "red", "anna", window_s=1.0, daily_budget=2)
    site.alerts.book.switch_on(site.alerts.book.add(request, NOW))
    for number in range(4):
        comes(site, 1, "lobby", 500.0 - 20.0 * number)
    look(watcher(site))
    assert [alert.is_quiet for alert in reversed(site.alerts.book.alerts(AlertFilter(), 9))] == [
        False,
        False,
        True,
        True,
    ]


def test_a_question_that_the_model_does_not_understand_raises_nothing(site: SmallSite) -> None:
    stand(site, "zeppelin")
    stand(site)
    comes(site, 1, "lobby", 500.0)
    look(watcher(site))
    assert raised(site) == [(2, 1, "lobby")]


def test_a_question_that_cannot_be_asked_any_more_stops_no_other(
    site: SmallSite, caplog: pytest.LogCaptureFixture
) -> None:
    stand(site)
    stand(site, "blue coat")
    with site.store.database.writing() as connection:
        connection.exec_driver_sql("UPDATE standing_queries SET question = '' WHERE number = 2")
    site.alerts.book.switch_off(1)
    site.alerts.book.switch_on(1)
    comes(site, 1, "lobby", 500.0)
    look(watcher(site))
    assert raised(site) == [(1, 1, "lobby")] and "the question is empty" in caplog.text


def test_the_model_is_loaded_once_and_again_only_for_another_one(site: SmallSite) -> None:
    loaded = []

    def opened(digest: str) -> SearchModel:
        loaded.append(digest)
        used = WardrobeEncoder()
        used.digest = digest
        return open_model(site, used)(digest)

    stand(site)
    at_work = watcher(site, model=opened)
    comes(site, 1, "lobby", 500.0)
    look(at_work)
    comes(site, 4, "lobby", 400.0)
    look(at_work)
    assert loaded == [DIGEST]
    site.encoder.digest = "another-model"
    for archived in (1, 2, 3, 4):  # everything is embedded again, then the other one serves
        comes(site, archived, "cellar", 10_000.0 + archived, "black")
    with site.store.database.writing() as connection:
        connection.exec_driver_sql("UPDATE embeddings SET model_digest = 'another-model'")
    assert site.store.switch_model("another-model", 1, NOW, "promoted") is not None
    comes(site, 5, "lobby", 300.0)
    look(at_work)
    assert loaded == [DIGEST, "another-model"]
    assert [person for _, person, camera in raised(site) if camera == "lobby"] == [1, 4, 5]


def test_a_model_that_cannot_be_loaded_is_waited_for_and_nothing_is_missed(site: SmallSite) -> None:
    stand(site)
    comes(site, 1, "lobby", 500.0)
    is_there = False

    def opened(digest: str) -> SearchModel:
        if not is_there:
            raise Unavailable("not yet")
        return open_model(site)(digest)

    at_work = watcher(site, model=opened)
    with pytest.raises(Unavailable):
        at_work.run_once()
    is_there = True
    look(at_work)
    assert raised(site) == [(1, 1, "lobby")]


def test_a_back_test_tells_what_a_watcher_would_have_raised(site: SmallSite) -> None:
    request = StandingRequest("red coat", "red", "anna", window_s=60.0)
    number = site.alerts.book.add(request, NOW)
    site.alerts.book.switch_on(number)
    many_pass(site)
    look(watcher(site))
    live = [(alert.global_id, alert.tracklet_id) for alert in site.alerts.book.alerts(AlertFilter(), 99)]
    found = site.alerts.test(number, days=900.0 / 86_400.0)
    assert [(hit.global_id, hit.tracklet_id) for hit in found.hits] == live
    assert found.fired == len(live) and found.tracklets == 25  # with one who was there before
    kept = site.alerts.book.query(number).test
    assert kept is not None and kept.fired == found.fired
