"""How standing queries, their alerts and what webhooks are told are kept, on every database."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import func, select

from pipeline.adapters.delivery_book import ATTEMPTS, DeliveryBook, DeliveryState, pause_s
from pipeline.adapters.schema import alerts, webhook_deliveries
from pipeline.adapters.standing_book import AlertFilter, StandingBook, UnknownAlert, UnknownStandingQuery
from pipeline.adapters.store import SqlStore
from pipeline.adapters.watch_book import WatchBook
from pipeline.contracts import CameraId, GlobalId, IdentityEventKind, TrackletEmbedding
from pipeline.decisions import Decision, Revision
from pipeline.errors import InvalidQuery
from pipeline.forgetting import ErasureRequest, Found, Kind
from pipeline.search.alerts import JUDGED_S, Hit
from pipeline.search.feedback import Verdict
from pipeline.search.standing import AlertState, StandingRequest, Trial
from tests.fakes import DIGEST, DIMENSION, crop, embedding, tracklet

NOW = 1_700_000_000.0
HOUR_S = 3600.0
# What an attacker would type where a name belongs.
INJECTION = "'; DROP TABLE alerts; -- {{7*7}} <script>"
RED = StandingRequest("red coat", "red", "anna", (CameraId("gate"), CameraId(INJECTION)), HOUR_S, 2)


def decide(store: SqlStore, global_id: int, *seen: TrackletEmbedding) -> None:
    store.commit_decisions([Decision(each, GlobalId(global_id), False, 0.9, "test") for each in seen], NOW)


@pytest.fixture
def standing(store: SqlStore) -> StandingBook:
    return StandingBook(store.database)


@pytest.fixture
def watch(store: SqlStore) -> WatchBook:
    return WatchBook(store.database)


@pytest.fixture
def deliveries(store: SqlStore) -> DeliveryBook:
    return DeliveryBook(store.database)


def hit(
    standing: StandingBook, seen: TrackletEmbedding, global_id: int = 1, number: int = 1, margin: float = 1.0
) -> Hit:
    place = GlobalId(global_id), CameraId(seen.camera_id), seen.started_at, seen.ended_at
    return Hit(standing.query(number), 1, seen.tracklet_id, *place, margin, 0.75)


def raise_alert(store: SqlStore, seen: TrackletEmbedding, margin: float = 1.0, rings: bool = True) -> int:
    """For a person who is decided here; the number of the alert."""
    decide(store, 1, seen)
    standing, watch = StandingBook(store.database), WatchBook(store.database)
    _, place, _ = watch.standing()
    assert watch.keep([(hit(standing, seen, margin=margin), rings)], ["pager", "home"], place, place + 1, NOW)
    return standing.last_alert()


def test_a_query_is_kept_as_it_was_asked_and_is_off_at_first(standing: StandingBook, watch: WatchBook) -> None:
    before = watch.last_change()
    assert standing.add(RED, NOW) == 1 and standing.add(replace(RED, name="b"), NOW + 1) == 2
    kept = standing.query(1)
    assert (kept.request, kept.made_at, kept.margin, kept.test, kept.is_on) == (RED, NOW, 0.0, None, False)
    assert [each.number for each in standing.queries()] == [1, 2]
    standing.note_test(1, Trial(NOW, 7.0, 3))
    assert standing.query(1).test == Trial(NOW, 7.0, 3)
    assert watch.last_change() > before
    with pytest.raises(UnknownStandingQuery, match="no standing query 3"):
        standing.query(3)


def test_alerts_about_a_person_go_with_the_person_and_standing_queries_look_again(
    store: SqlStore, standing: StandingBook, watch: WatchBook
) -> None:
    standing.add(RED, NOW)
    raise_alert(store, embedding("gate", 1))
    store.keep_verdict(DIGEST, Verdict("red coat", GlobalId(1), 0.5, True, "anna", NOW))
    decide(store, 2, stays := embedding("gate", 2))
    _, place, _ = watch.standing()
    kept = hit(standing, stays, global_id=2)
    assert watch.keep([(kept, True)], ["pager"], place, place + 1, NOW)
    before = watch.last_change()
    number = store.add_erasure(ErasureRequest(GlobalId(1), "anna", "case 7"), Found(), NOW)
    store.erase(number, NOW, NOW + 1.0)
    with store.database.reading() as connection:
        assert connection.execute(select(alerts.c.tracklet_id)).scalars().all() == [stays.tracklet_id]
        assert connection.execute(select(func.count()).select_from(webhook_deliveries)).scalar_one() == 1
    assert watch.last_change() == before + 1


def test_a_page_brings_no_look_that_was_kept_long_enough(store: SqlStore, watch: WatchBook) -> None:
    decide(store, 1, embedding("gate", 1, started_at=0.0), new := embedding("gate", 2, started_at=50.0, ended_at=54.0))
    store.advance_marks(CameraId("gate"), {Kind.VECTORS: 10.0})
    page = watch.page(DIGEST, 0, 10)
    assert (page.decided, list(page.passers.tracklet_ids)) == (2, [new.tracklet_id])


def test_a_query_is_on_for_what_is_decided_later(store: SqlStore, standing: StandingBook) -> None:
    standing.add(RED, NOW)
    decide(store, 1, embedding("gate", 1), embedding("gate", 2))
    standing.switch_on(1)
    decide(store, 1, embedding("gate", 3))
    standing.switch_on(1)
    assert standing.query(1).on_after == 2
    standing.switch_off(1)
    assert not standing.query(1).is_on


def test_a_page_follows_decisions_and_brings_what_was_seen_of_the_same_people_lately(
    store: SqlStore, watch: WatchBook
) -> None:
    look = np.eye(4, DIMENSION, dtype=np.float32)
    at = 10 * JUDGED_S
    old, recent, other = (
        embedding("gate", number, started_at=start, ended_at=start + 4.0, vector=look[number])
        for number, start in ((0, 0.0), (1, at - 100.0), (2, at - 50.0))
    )
    new = embedding("hall", 3, started_at=at, ended_at=at + 4.0, vector=look[3])
    of_another_model = embedding("hall", 4, started_at=at, ended_at=at + 4.0, digest="another-model")
    decide(store, 1, old, recent)
    decide(store, 2, other)
    decide(store, 1, new)
    decide(store, 1, of_another_model)
    page = watch.page(DIGEST, 3, 10)
    assert (page.up_to_event, page.decided, page.passers.fresh) == (5, 2, 1)
    assert list(page.passers.tracklet_ids) == [recent.tracklet_id, new.tracklet_id]
    assert page.passers.events.tolist() == [2, 4]
    assert page.passers.vectors == pytest.approx(look[[1, 3]], abs=1e-3)
    assert watch.page(DIGEST, 0, 2).up_to_event == 2
    assert watch.page(DIGEST, 5, 10).decided == 0 and watch.page(DIGEST, 5, 10).up_to_event == 5
    assert [watch.first_event(since) for since in (0.0, at, at + 5.0)] == [0, 3, 5]


def test_alerts_and_the_place_are_kept_together_and_only_by_whoever_knows_the_place(
    store: SqlStore, standing: StandingBook, watch: WatchBook, deliveries: DeliveryBook
) -> None:
    standing.add(RED, NOW)
    seen = embedding("gate", 1, started_at=NOW, ended_at=NOW + 4.0)
    decide(store, 1, seen)
    store.archive_tracklet(tracklet(1, crop(b"best"), crop(b"second")))
    found = [(hit(standing, seen), True)]
    assert watch.keep(found, ["pager"], 0, 1, NOW + 5)
    assert not watch.keep([(hit(standing, seen), True)], ["pager"], 0, 1, NOW + 5)
    assert watch.keep([], ["pager"], 1, 7, NOW + 5) and watch.standing()[1] == 7
    (alert,) = standing.alerts(AlertFilter(), 10)
    assert (alert.number, alert.query_number, alert.name, alert.question) == (1, 1, "red", "red coat")
    assert (alert.global_id, alert.camera_id, alert.raised_at, alert.margin) == (1, "gate", NOW + 5, 1.0)
    assert len(alert.crop_keys) == 2
    assert [each.id for each in deliveries.due("pager", NOW + 5, 9)] == ["1-pager"]
    assert standing.alert(1) == alert
    with pytest.raises(UnknownAlert):
        standing.alert(2)


def test_what_was_raised_is_known_by_person_and_by_day(
    store: SqlStore, standing: StandingBook, watch: WatchBook
) -> None:
    standing.add(RED, NOW)
    first = embedding("gate", 1, started_at=NOW - 9, ended_at=NOW)
    quiet = embedding("gate", 2, started_at=NOW + HOUR_S, ended_at=NOW + HOUR_S + 9)
    raise_alert(store, first)
    raise_alert(store, quiet, rings=False)
    again = replace(hit(standing, first), ended_at=NOW + 5.0)
    raised = watch.raised([again])
    assert list(raised.places) == [((1, 1, "gate"), NOW)]
    assert list(raised.rang) == [(1, NOW)]
    late = watch.raised([replace(again, ended_at=NOW + 2 * HOUR_S - 5.0)])
    assert list(late.places) == [((1, 1, "gate"), quiet.ended_at)] and list(late.rang) == [(1, NOW)]
    assert list(watch.raised([replace(again, global_id=GlobalId(9))]).places) == []
    assert watch.raised([]).rang == ()


def test_an_alert_belongs_to_whomever_its_tracklet_belongs_to(
    store: SqlStore, standing: StandingBook, watch: WatchBook
) -> None:
    standing.add(RED, NOW)
    seen = embedding("gate", 1, started_at=NOW, ended_at=NOW + 4.0)
    number = raise_alert(store, seen)
    decide(store, 2, embedding("hall", 2))
    merge = Revision(IdentityEventKind.MERGED, GlobalId(1), GlobalId(2), 1.0, "one coat")
    store.commit_decisions((), NOW, [merge])
    assert standing.alert(number).global_id == 2
    assert [each.number for each in standing.alerts(AlertFilter(global_id=GlobalId(2)), 9)] == [number]
    assert list(watch.raised([hit(standing, seen, global_id=2)]).places) == [((1, 2, "gate"), NOW + 4.0)]
    split = Revision(IdentityEventKind.SPLIT, GlobalId(2), GlobalId(3), 1.0, "two", (seen.tracklet_id,), is_new=True)
    store.commit_decisions((), NOW, [split])
    assert standing.alert(number).global_id == 3


def test_a_false_alarm_tightens_its_query_and_can_be_taken_back(store: SqlStore, standing: StandingBook) -> None:
    standing.add(RED, NOW)
    sure, unsure = (
        raise_alert(store, embedding("gate", track), margin=margin) for track, margin in ((1, 2.0), (2, 0.25))
    )
    standing.judge(sure, AlertState.ACKNOWLEDGED, "anna", NOW, 0.1)
    assert standing.query(1).margin == 0.0
    standing.judge(unsure, AlertState.FALSE_ALARM, "ben", NOW + 1, 0.1)
    assert 0.25 < standing.query(1).margin < 0.3
    judged = standing.alert(unsure)
    assert (judged.state, judged.judged_by, judged.judged_at) == (AlertState.FALSE_ALARM, "ben", NOW + 1)
    standing.judge(unsure, AlertState.FALSE_ALARM, "carl", NOW + 2, 0.1)
    assert standing.alert(unsure) == judged
    standing.judge(unsure, AlertState.ACKNOWLEDGED, "ben", NOW + 3, 0.1)
    assert standing.query(1).margin == 0.0
    with pytest.raises(UnknownAlert):
        standing.judge(99, AlertState.ACKNOWLEDGED, "anna", NOW, 0.1)


def test_the_list_is_asked_by_query_state_and_number(store: SqlStore, standing: StandingBook) -> None:
    standing.add(RED, NOW)
    numbers = [raise_alert(store, embedding("gate", track)) for track in (1, 2, 3)]
    standing.judge(2, AlertState.ACKNOWLEDGED, "anna", NOW, 0.1)

    def listed(only: AlertFilter, before: int | None = None) -> list[int]:
        return [alert.number for alert in standing.alerts(only, 9, before)]

    assert numbers == [1, 2, 3] and listed(AlertFilter()) == [3, 2, 1]
    assert listed(AlertFilter(state=AlertState.OPEN)) == [3, 1]
    assert listed(AlertFilter(query_number=1), before=3) == [2, 1]
    assert listed(AlertFilter(query_number=2)) == []
    assert [alert.number for alert in standing.alerts_after(1, 9)] == [2, 3]


def test_a_removed_query_takes_its_alerts_along(
    store: SqlStore, standing: StandingBook, watch: WatchBook, deliveries: DeliveryBook
) -> None:
    standing.add(RED, NOW)
    seen = embedding("gate", 1)
    raise_alert(store, seen)
    gone = hit(standing, seen)
    standing.remove(1)
    assert standing.queries() == [] and standing.alerts(AlertFilter(), 9) == []
    assert deliveries.due("pager", NOW, 9) == []
    assert watch.keep([(gone, True)], ["pager"], 1, 2, NOW)  # found before, kept after
    assert standing.alerts(AlertFilter(), 9) == []
    with pytest.raises(UnknownStandingQuery):
        standing.remove(1)
    assert standing.add(RED, NOW) == 2


def test_a_delivery_is_tried_again_later_and_later_then_given_up_and_can_be_replayed(
    store: SqlStore, standing: StandingBook, deliveries: DeliveryBook
) -> None:
    standing.add(RED, NOW)
    raise_alert(store, embedding("gate", 1))
    now, pauses = NOW, []
    for attempt in range(1, ATTEMPTS + 1):
        (delivery,) = deliveries.due("pager", now, 9)
        state = deliveries.note(delivery, now, "status 500")
        assert state is (DeliveryState.DEAD if attempt == ATTEMPTS else DeliveryState.WAITING)
        assert deliveries.due("pager", now, 9) == []
        if (pause := pause_s(attempt)) is not None:
            pauses.append(pause)
            now += pause
    assert pauses == sorted(pauses) and pauses[0] == 5.0
    (dead,) = deliveries.dead(9)
    assert (dead.attempts, dead.problem) == (ATTEMPTS, "status 500")
    assert len(deliveries.due("home", now, 9)) == 1  # the other one waits for nobody
    assert deliveries.replay([99], now) == 0 and deliveries.replay([], now) == 1
    (again,) = deliveries.due("pager", now, 9)
    assert again.attempts == 0
    assert deliveries.note(again, now, None) is DeliveryState.DELIVERED
    assert deliveries.counts() == {("home", DeliveryState.WAITING): 1, ("pager", DeliveryState.DELIVERED): 1}


def test_too_many_queries_are_refused(standing: StandingBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.adapters.standing_book.MOST_QUERIES", 1)
    standing.add(RED, NOW)
    with pytest.raises(InvalidQuery, match="remove those"):
        standing.add(RED, NOW)
