"""Reading the times that people type."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidQuery
from pipeline.search.moments import parse_moment, parse_span

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 5, 28, 16, 30, 15, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("14:00", "2026-05-28T14:00:00+02:00"),
        ("9:05:07", "2026-05-28T09:05:07+02:00"),
        ("23:59", "2026-05-28T23:59:00+02:00"),
        ("2pm", "2026-05-28T14:00:00+02:00"),
        ("12:15 am", "2026-05-28T00:15:00+02:00"),
        ("2h", "2026-05-28T14:30:15+02:00"),
        ("90m ago", "2026-05-28T15:00:15+02:00"),
        ("1h 30min", "2026-05-28T15:00:15+02:00"),
        ("1.5h", "2026-05-28T15:00:15+02:00"),
        ("1d", "2026-05-27T16:30:15+02:00"),
        ("now", "2026-05-28T16:30:15+02:00"),
        ("Today", "2026-05-28T00:00:00+02:00"),
        ("yesterday", "2026-05-27T00:00:00+02:00"),
        ("yesterday  18:30", "2026-05-27T18:30:00+02:00"),
        ("2026-05-01", "2026-05-01T00:00:00+02:00"),
        ("2026-01-01T08:00", "2026-01-01T08:00:00+01:00"),
        ("2026-01-01 08:00:30", "2026-01-01T08:00:30+01:00"),
        ("2026-01-01T08:00Z", "2026-01-01T08:00:00+00:00"),
        ("2026-01-01T08:00-05:00", "2026-01-01T08:00:00-05:00"),
    ],
)
def test_a_time_is_read_in_the_zone_of_the_site(text: str, expected: str) -> None:
    assert parse_moment(text, NOW) == datetime.fromisoformat(expected).timestamp()


@pytest.mark.parametrize(
    "text",
    ["", "soon", "25:00", "14:60", "13pm", "0am", "14", "yesterday noon", "2026-02-30", "-2h", "99999999d", "2h 14:00"],
)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidQuery, match="14:00"):
        parse_moment(text, NOW)


def test_a_time_that_summer_time_skips_lies_an_hour_later() -> None:
    at = parse_moment("2026-03-29T02:30", NOW)
    assert datetime.fromtimestamp(at, BERLIN).isoformat() == "2026-03-29T03:30:00+02:00"


def test_a_time_that_occurs_twice_is_the_first() -> None:
    at = parse_moment("2026-10-25T02:30", NOW)
    assert datetime.fromtimestamp(at, BERLIN).isoformat() == "2026-10-25T02:30:00+02:00"


def test_yesterday_is_a_calendar_day_also_when_it_had_25_hours() -> None:
    monday = datetime(2026, 10, 26, 0, 30, tzinfo=BERLIN)
    assert parse_moment("yesterday 00:00", monday) == datetime(2026, 10, 25, tzinfo=BERLIN).timestamp()


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_every_iso_time_with_an_offset_is_read_as_it_stands(moment: datetime, offset_min: int) -> None:
    aware = moment.replace(tzinfo=UTC) - timedelta(minutes=offset_min)
    assert parse_moment(aware.isoformat(), NOW) == aware.timestamp()


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_an_invalid_query(text: str) -> None:
    try:
        parse_moment(text, NOW)
    except InvalidQuery as error:
        assert len(str(error)) < 400


def test_a_span_leaves_empty_ends_open_and_does_not_run_backwards() -> None:
    assert parse_span(None, " ", NOW) == (None, None)
    assert parse_span("2h", "", NOW) == (NOW.timestamp() - 7200, None)
    with pytest.raises(InvalidQuery, match="before"):
        parse_span("1h", "2h", NOW)


def test_a_clock_without_a_zone_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="time zone"):
        parse_moment("14:00", NOW.replace(tzinfo=None))
