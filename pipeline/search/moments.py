"""What people type for a time: `14:00`, `2h`, `yesterday 18:30`, `2026-05-01T14:00`. Pure: now is an argument."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

from pipeline.errors import InvalidQuery

_CLOCK = re.compile(r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2}))?)?\s*(?P<half>am|pm)?")
_AGO = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:d|h|min|m|s)\s*)+(?:ago)?")
_AGO_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|min|m|s)")
_UNIT_S = {"d": 86_400.0, "h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0}
_LONGEST_AGO_S = 100 * 366 * 86_400.0
_EXPECTED = "14:00, 2pm, 30m, 2h, 1d, today, yesterday 18:30, 2026-05-01 or 2026-05-01T14:00"


def parse_moment(text: str, now: datetime) -> float:
    """A moment in UTC seconds. `now` carries the time zone in which clock times and dates are meant.

    `14:00` is today, also when it lies ahead; `2h` is two hours ago; a date alone is its first moment; an ISO time with
    its own offset keeps it. A clock time that occurs twice when summer time ends is the first of the two, and one that
    is skipped when it begins lies an hour later (PEP 495). Raises `InvalidQuery`.
    """
    if now.tzinfo is None:
        raise ValueError("now has no time zone; expected an aware datetime")
    words = " ".join(text.lower().split())
    if words == "now":
        return now.timestamp()
    if _AGO.fullmatch(words):
        ago_s = sum(float(number) * _UNIT_S[unit] for number, unit in _AGO_PART.findall(words))
        if ago_s > _LONGEST_AGO_S:
            raise _unreadable(text)
        return now.timestamp() - ago_s
    day, _, rest = words.partition(" ")
    if day in ("today", "yesterday"):
        date = (now - timedelta(days=day == "yesterday")).date()
        return datetime.combine(date, _clock_time(rest, text) if rest else time(), now.tzinfo).timestamp()
    if _CLOCK.fullmatch(words) and (":" in words or words.endswith("m")):
        return datetime.combine(now.date(), _clock_time(words, text), now.tzinfo).timestamp()
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)).timestamp()
    except (ValueError, OverflowError) as error:
        raise _unreadable(text) from error


def parse_span(since: str | None, until: str | None, now: datetime) -> tuple[float | None, float | None]:
    """Both ends of the asked time in UTC seconds; empty text leaves an end open. Raises `InvalidQuery`."""
    since_at = parse_moment(since, now) if since and since.strip() else None
    until_at = parse_moment(until, now) if until and until.strip() else None
    if since_at is not None and until_at is not None and until_at < since_at:
        raise InvalidQuery(
            f"the time ends ({until}) before it begins ({since})", "since before until", "exchange the two"
        )
    return since_at, until_at


def _clock_time(words: str, text: str) -> time:
    found = _CLOCK.fullmatch(words)
    if found is None:
        raise _unreadable(text)
    hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
    if found["half"]:
        if not 1 <= hour <= 12:
            raise _unreadable(text)
        hour = hour % 12 + (12 if found["half"] == "pm" else 0)
    try:
        return time(hour, minute, second)
    except ValueError as error:
        raise _unreadable(text) from error


def _unreadable(text: str) -> InvalidQuery:
    return InvalidQuery(f"the time {text[:60]!r} is not readable", f"a time such as {_EXPECTED}", "write it that way")
