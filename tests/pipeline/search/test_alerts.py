"""Whom a standing query means, how often it says so, and what false alarms teach it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts import CameraId, GlobalId, TrackletId
from pipeline.errors import InvalidQuery
from pipeline.search.alerts import (
    JUDGED_S,
    JUDGED_TRACKLETS,
    MOST_AT_ONCE,
    MOST_MARGIN,
    DailyBudget,
    Hit,
    Judged,
    OncePerWindow,
    Panel,
    Passers,
    hits,
    least_log_odds,
    needed_margin,
    step_above,
    tightened,
)
from pipeline.search.hearing import Heard
from pipeline.search.standing import StandingQuery, StandingRequest
from pipeline.search.text_calibration import TextCalibration
from pipeline.search.wording import wording

# A similarity of 0.5 is as likely as not, and a match.
CURVE = TextCalibration(slope=10.0, intercept=-5.0, per_word=0.0, thing_slope=10.0, thing_intercept=-5.0, least=0.5)
EVEN = 0.5  # a budget that asks for no more than a match
Seen = tuple[int, str, float, float]  # person, camera, start, similarity to the first question


def query(number: int = 1, *cameras: str, margin: float = 0.0, on_after: int | None = 0) -> StandingQuery:
    request = StandingRequest("red coat", "red", "anna", tuple(CameraId(name) for name in cameras), 60.0, 2)
    return StandingQuery(number, request, 0.0, margin, on_after=on_after)


def passers(seen: list[Seen], fresh: int | None = None, after_event: int = 0) -> Passers:
    similarities = [similarity for *_, similarity in seen]
    return Passers(
        events=np.arange(after_event + 1, after_event + 1 + len(seen)),
        global_ids=np.array([person for person, *_ in seen], np.int64),
        camera_ids=[CameraId(camera) for _, camera, *_ in seen],
        started_at=np.array([start for _, _, start, _ in seen], np.float64),
        ended_at=np.array([start + 4.0 for _, _, start, _ in seen], np.float64),
        tracklet_ids=[TrackletId(f"t{after_event + place}") for place in range(len(seen))],
        vectors=np.array([[s, math.sqrt(1.0 - s * s)] for s in similarities], np.float32).reshape(-1, 2),
        fresh=len(seen) if fresh is None else fresh,
    )


def heard(number: int) -> Heard:
    """Even numbers ask for the opposite of what odd ones ask for; every third query denies that opposite."""
    ways = np.eye(2, dtype=np.float32)
    absent = ways[[number % 2]] if number % 3 == 0 else ways[:0]
    return Heard(wording("red coat"), ways[1 - number % 2], absent, (), is_understood=True)


def panel(*queries: StandingQuery, curve: TextCalibration = CURVE, budget: float = EVEN) -> Panel:
    return Panel(queries, [heard(each.number) for each in queries], curve, budget)


def told(found: list[Hit]) -> list[tuple[int, str]]:
    return [(hit.query.number, hit.tracklet_id) for hit in found]


sightings = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.sampled_from(["gate", "hall"]),
        st.integers(0, 40).map(lambda step: step * JUDGED_S / 20),
        st.floats(0.0, 1.0, width=32),
    ),
    max_size=40,
)
QUERIES = (query(1), query(2, "gate", margin=1.0), query(3, "hall", on_after=7), query(4, on_after=None), query(6))


def better_half_mean(values: list[float]) -> float:
    count = max(math.ceil(len(values) / 2), min(len(values), 3))
    return sum(sorted(values, reverse=True)[:count]) / count


def naive(seen: list[Seen], asked: StandingQuery, above: float) -> set[str]:
    """One tracklet after the other, as it is said in words; `above` the threshold by so much."""
    found = set()
    for now, (person, camera, start, _) in enumerate(seen):
        own = [(began, s) for who, _, began, s in seen[: now + 1] if who == person][-JUDGED_TRACKLETS:]
        recent = [s for began, s in own[:-1] if began >= start + 4.0 - JUDGED_S] + [own[-1][1]]
        opposite = [math.sqrt(1.0 - s * s) for s in recent]
        present, denied = (recent, opposite) if asked.number % 2 else (opposite, recent)
        score = better_half_mean(present)
        if asked.number % 3 == 0:
            score -= 2.0 / 10.0 * math.log(1.0 + math.exp(10.0 * better_half_mean(denied) - 5.0))
        is_on = asked.on_after is not None and now + 1 > asked.on_after
        if is_on and asked.asks_for(CameraId(camera)) and score >= 0.5 + asked.margin / 10.0 + above:
            found.add(f"t{now}")
    return found


@settings(max_examples=50)
@given(sightings)
def test_all_queries_at_once_find_what_each_would_find_alone(seen: list[Seen]) -> None:
    found = told(hits(passers(seen), panel(*QUERIES)))
    for asked in QUERIES:
        mine = {name for number, name in found if number == asked.number}
        assert naive(seen, asked, above=1e-4) <= mine <= naive(seen, asked, above=-1e-4)  # but for rounding


@settings(max_examples=50)
@given(sightings, st.integers(0, 40))
def test_what_comes_of_a_tracklet_does_not_depend_on_its_batch(seen: list[Seen], cut: int) -> None:
    cut = min(cut, len(seen))
    together = hits(passers(seen), panel(*QUERIES))
    first = hits(passers(seen[:cut]), panel(*QUERIES))
    second = hits(passers(seen, fresh=len(seen) - cut), panel(*QUERIES))
    assert first + second == together


def test_one_lucky_crop_among_many_raises_nothing() -> None:
    seen = [(1, "gate", 10.0 * number, 0.2) for number in range(4)]
    assert hits(passers([*seen, (1, "gate", 50.0, 0.9)]), panel(query())) == []
    assert told(hits(passers([(1, "gate", 50.0, 0.9)]), panel(query()))) == [(1, "t0")]


def test_a_hit_tells_by_how_much_and_how_surely() -> None:
    (hit,) = hits(passers([(7, "hall", 10.0, 0.7)]), panel(query()))
    assert (hit.global_id, hit.camera_id, hit.started_at, hit.ended_at, hit.event) == (7, "hall", 10.0, 14.0, 1)
    assert hit.margin == pytest.approx(2.0, abs=1e-3)
    assert hit.confidence == pytest.approx(1.0 / (1.0 + math.exp(-2.0)), abs=1e-3)


def test_a_model_that_was_never_calibrated_raises_nothing() -> None:
    uncalibrated = replace(CURVE, slope=0.0, intercept=0.0)
    for curve in (uncalibrated, replace(uncalibrated, least=math.inf)):
        assert hits(passers([(1, "gate", 0.0, 1.0)]), panel(query(margin=1.0), curve=curve)) == []
    assert hits(passers([(1, "gate", 0.0, 1.0)]), panel()) == []


def test_an_alert_is_a_match_and_as_sure_as_the_budget_demands() -> None:
    assert least_log_odds(CURVE, 0.5) == 0.0
    assert least_log_odds(CURVE, 0.1) == pytest.approx(math.log(9.0))
    assert least_log_odds(replace(CURVE, least=0.99), 0.1) == pytest.approx(math.log(99.0))
    seen = passers([(person, "gate", 0.0, 0.70 + 0.01 * person) for person in range(4)])
    found = hits(seen, panel(query(), budget=0.1))
    assert [hit.global_id for hit in found] == [2, 3]
    assert all(hit.confidence >= 0.9 and hit.margin >= 0.0 for hit in found)


@given(st.floats(-3.0, 3.0), st.integers(1, 40), st.floats(0.05, 4.0), st.floats(-2.0, 2.0))
def test_the_least_fit_is_where_a_search_has_these_log_odds(
    log_odds: float, words: int, site_slope: float, site_intercept: float
) -> None:
    curve = replace(CURVE, per_word=-0.7, site_slope=site_slope, site_intercept=site_intercept).asked(words)
    probabilities, _ = curve.judged(np.array([curve.least_fit(log_odds)]))
    assert probabilities[0] == pytest.approx(1.0 / (1.0 + math.exp(-log_odds)), abs=1e-9)


def hit_at(at: float, person: int = 1, camera: str = "gate", number: int = 1) -> Hit:
    return Hit(query(number), 1, TrackletId("t"), GlobalId(person), CameraId(camera), at - 4.0, at, 1.0, 0.9)


def test_one_alert_for_a_person_and_place_within_the_window() -> None:
    windows = OncePerWindow([((1, GlobalId(1), CameraId("gate")), 100.0)])
    assert not windows.admits(hit_at(159.0)) and not windows.admits(hit_at(41.0))
    assert windows.admits(hit_at(160.0)) and not windows.admits(hit_at(170.0))
    assert windows.admits(hit_at(100.0, person=2))
    assert windows.admits(hit_at(100.0, camera="hall"))
    assert windows.admits(hit_at(100.0, number=2))


def test_beyond_its_daily_budget_a_query_rings_no_more_that_day() -> None:
    budget = DailyBudget([(1, 0.0)])
    assert budget.rings(hit_at(10.0)) and not budget.rings(hit_at(20.0))
    assert budget.rings(hit_at(20.0, number=2))
    assert budget.rings(hit_at(86_400.0))


verdicts = st.lists(st.builds(Judged, st.floats(0.0, 4.0), st.booleans()), max_size=12)
shares = st.sampled_from([0.0, 0.1, 0.5])


@given(verdicts, shares)
def test_the_needed_margin_keeps_the_budget_and_no_lower_one_does(judged: list[Judged], budget: float) -> None:
    margin = needed_margin(judged, budget)
    kept = [alarm.is_false for alarm in judged if alarm.margin >= margin]
    assert sum(kept) <= budget * len(kept) or margin == MOST_MARGIN
    for lower in (0.0, *(step_above(alarm.margin) for alarm in judged if alarm.is_false)):
        above = [alarm.is_false for alarm in judged if alarm.margin >= lower]
        assert lower >= margin or sum(above) > budget * len(above)


@given(verdicts, st.floats(0.0, 4.0), shares, st.floats(0.0, MOST_MARGIN))
def test_a_false_alarm_never_loosens_and_teaches_only_so_much(
    judged: list[Judged], false_at: float, budget: float, before: float
) -> None:
    assert needed_margin([*judged, Judged(false_at, True)], budget) >= needed_margin(judged, budget)
    after = tightened(before, [*judged, Judged(false_at, True)], budget)
    assert before <= after <= min(before + MOST_AT_ONCE, max(MOST_MARGIN, before))


def test_a_false_alarm_silences_what_was_no_surer_than_it() -> None:
    assert tightened(0.0, [Judged(0.3, True)], 0.1) == pytest.approx(0.301)
    many = [Judged(2.0, False)] * 9
    assert tightened(0.0, [*many, Judged(0.3, True)], 0.1) == 0.0  # one in ten is within the budget
    assert tightened(0.0, [Judged(2.9, True)], 0.1) == MOST_AT_ONCE  # a slip does not silence it


@pytest.mark.parametrize(
    "values",
    [
        {"question": "  "},
        {"question": "a" * 301},
        {"question": "red\ncoat"},
        {"name": "\x1b[31mred"},
        {"name": ""},
        {"name": "x" * 65},
        {"made_by": "anna\r\nSet-Cookie: x"},
        {"camera_ids": tuple("abc" * 40)},
        {"window_s": 0.0},
        {"window_s": math.nan},
        {"daily_budget": 0},
    ],
)
def test_what_cannot_stand_is_refused(values: dict[str, object]) -> None:
    usual: dict[str, object] = {"question": "red coat", "name": "red", "made_by": "anna"}
    with pytest.raises(InvalidQuery):
        StandingRequest(**(usual | values)).check()  # type: ignore[arg-type]
