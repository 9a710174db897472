"""Times that people say within a question: "after two", "yesterday morning", "in the last hour". Pure: now is given."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta

_HOURS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBERS = {word: number for number, word in enumerate(_HOURS, 1)}
_NUMBER = rf"(?:\d{{1,2}}|{'|'.join(_HOURS)})"
_CLOCK = (
    rf"(?:(?:half\s+past|quarter\s+past|quarter\s+to)\s+{_NUMBER}|\d{{1,2}}:\d{{2}}|{_NUMBER})"
    r"(?:\s*o['’]?\s?clock)?(?:\s*[ap]\.?m\b\.?)?|noon|midday|midnight"
)
_PART = r"morning|afternoon|evening|night"
# What may follow a bare number: otherwise "after two" of "after two men" would be a time.
_END = (
    r"(?=\s*(?:$|[,.;!?]|(?:and|but|in|on|at|with|wearing|who|today|yesterday|this|last|the|near|by|from|before|after)"
    r"\b))"
)
_SPANS = re.compile(
    rf"\b(?:"
    rf"(?:between|from)\s+(?P<first>{_CLOCK})\s+(?:and|to|until|till)\s+(?P<last>{_CLOCK}){_END}"
    rf"|(?P<way>after|since|from|before|until|till|around|about|at)\s+(?P<clock>{_CLOCK}){_END}"
    rf"|(?:(?:in|during|within|over)\s+)?the\s+(?:last|past)\s+(?P<count>{_NUMBER}\s+)?(?P<unit>minute|hour|day|week)s?\b"
    rf"|(?:(?P<day_of_part>today|yesterday|this)\s+|(?:in|during)\s+the\s+)(?P<part>{_PART})\b"
    rf"|(?P<last_night>last\s+night|tonight)\b"
    rf"|(?P<day>today|yesterday)\b"
    rf")",
    re.IGNORECASE,
)
_PARTS_H = {"morning": (5, 12), "afternoon": (12, 18), "evening": (18, 23), "night": (21, 29)}
_UNITS_S = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0, "week": 7 * 86_400.0}
_ABOUT = timedelta(minutes=30)  # on either side of "at two"
_FIRST_MORNING_HOUR = 7  # a bare "two" is in the afternoon, a bare "nine" in the morning


@dataclass(frozen=True, slots=True)
class Span:
    """A time that was said: where its words stand in the text, and its ends in UTC seconds."""

    places: tuple[tuple[int, int], ...]
    since_at: float | None
    until_at: float | None


def find_spans(text: str, now: datetime) -> list[Span]:
    """Every time said in `text`, in its order. `now` carries the time zone in which it is meant.

    A day that is said anywhere ("after two yesterday") is meant by every clock time, and a part of the day ("after nine
    in the evening") tells its half. Without either a clock time that lies ahead is that of yesterday.
    """
    found = list(_SPANS.finditer(text))
    is_yesterday = any("yesterday" in each[0].lower() for each in found)
    has_day = is_yesterday or any(re.search(r"\b(?:today|this)\b", each[0], re.IGNORECASE) for each in found)
    parts = [each["part"].lower() for each in found if each["part"]]
    day = (now - timedelta(days=1)) if is_yesterday else now
    reader = _Reader(now, day, has_day, parts[0] if parts else None)
    read = [(each, ends) for each in found if (ends := reader.ends(each)) is not None]
    clocks = [(each, ends) for each, ends in read if each["clock"] or each["first"]]
    # The day, and the part of it, are in the clock times already, and belong to the first.
    days = [each.span() for each, _ in read if clocks and (each["day"] or each["part"])]
    spans = [Span((each.span(),), *ends) for each, ends in read if each.span() not in days]
    if days:
        first = next(place for place, span in enumerate(spans) if span.places[0] == clocks[0][0].span())
        spans[first] = replace(spans[first], places=tuple(sorted((*spans[first].places, *days))))
    return spans


@dataclass(frozen=True, slots=True)
class _Reader:
    now: datetime
    day: datetime
    has_day: bool
    part: str | None

    def ends(self, said: re.Match[str]) -> tuple[float | None, float | None] | None:
        """The span's ends; None for what is no time after all."""
        if said["unit"]:
            number = (said["count"] or "one").strip().lower()
            count = _NUMBERS.get(number) or int(number)
            return self.now.timestamp() - count * _UNITS_S[said["unit"].lower()], None
        if said["last_night"]:
            evening = self.now - timedelta(days=said["last_night"].lower() != "tonight")
            return self._hours(evening, "night")
        if said["first"]:
            first, last = self._moment(said["first"]), self._moment(said["last"])
            if first is None or last is None:
                return None
            return first.timestamp(), (last if last > first else last + timedelta(hours=12)).timestamp()
        if said["way"]:
            return self._from(said["way"].lower(), self._moment(said["clock"]))
        return self._hours(self.day, said["part"].lower() if said["part"] else None)

    def _from(self, way: str, moment: datetime | None) -> tuple[float | None, float | None] | None:
        if moment is None:
            return None
        if way in ("after", "since", "from"):
            if not self.has_day or moment.date() == self.now.date():
                return moment.timestamp(), None
            # "after two yesterday" ends with that day
            midnight = datetime.combine(moment.date() + timedelta(days=1), time(), moment.tzinfo)
            return moment.timestamp(), midnight.timestamp()
        if way in ("before", "until", "till"):
            return datetime.combine(moment.date(), time(), moment.tzinfo).timestamp(), moment.timestamp()
        return (moment - _ABOUT).timestamp(), (moment + _ABOUT).timestamp()

    def _hours(self, day: datetime, part: str | None) -> tuple[float, float]:
        first, last = _PARTS_H[part] if part else (0, 24)
        midnight = datetime.combine(day.date(), time(), day.tzinfo)
        return (midnight + timedelta(hours=first)).timestamp(), (midnight + timedelta(hours=last)).timestamp()

    def _moment(self, clock: str) -> datetime | None:
        read = _read_clock(clock, self.part)
        if read is None:
            return None
        moment = datetime.combine(self.day.date(), read[0], self.now.tzinfo)
        if self.has_day or moment <= self.now:
            return moment
        earlier = moment - timedelta(hours=12)
        is_either_half = read[1] and earlier.date() == moment.date()
        return earlier if is_either_half and earlier <= self.now else moment - timedelta(days=1)


def _read_clock(clock: str, part: str | None) -> tuple[time, bool] | None:
    """The time of day, and whether it could be in either half; None for what is no time, such as 25:00."""
    words = " ".join(clock.lower().split())
    if words in ("noon", "midday", "midnight"):
        return time(0 if words == "midnight" else 12), False
    numbers = [_NUMBERS.get(word) or int(word) for word in re.findall(rf"\d+|{'|'.join(_HOURS)}", words)]
    hour, minute = numbers[0], numbers[1] if len(numbers) > 1 else 0
    if words.startswith("half past"):
        minute = 30
    elif words.startswith("quarter"):
        hour, minute = (hour, 15) if "past" in words else (hour - 1, 45)
    if hour > 23 or minute > 59:
        return None
    half = re.search(r"([ap])\.?m", words)
    if half:
        return (time(hour % 12 + 12 * (half[1] == "p"), minute), False) if 1 <= hour <= 12 else None
    if hour > 12 or hour == 0 or ":" in words:
        return time(hour % 24, minute), False
    if part:
        return time(hour % 12 + 12 * (part != "morning"), minute), False
    return time(hour % 12 + 12 * (hour < _FIRST_MORNING_HOUR or hour == 12), minute), True
