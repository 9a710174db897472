"""Times that people say within a question: "after two", "since yesterday", "in the last hour". Pure: now is given."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta

Ends = tuple[float | None, float | None]  # UTC seconds; None is open

_HOURS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBERS = {word: number for number, word in enumerate(_HOURS, 1)}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NUMBER = rf"(?:\d{{1,2}}|{'|'.join(_HOURS)})"
_OCLOCK, _HALF = r"\s*o['’]?\s?clock", r"\s*[ap]\.?m\b\.?"
_CLOCK = (
    rf"(?:(?:(?:half\s+past|quarter\s+past|quarter\s+to)\s+{_NUMBER}|\d{{1,2}}:\d{{2}}(?!:))(?:{_OCLOCK})?(?:{_HALF})?\b"
    rf"|{_NUMBER}(?:{_OCLOCK}(?:{_HALF})?|{_HALF})|(?:noon|midday|midnight|now)\b)"
)
# What may follow a bare number: otherwise "after two" of "after two men" would be a time.
_END = (
    r"(?=\s*(?:$|[,.;!?]|(?:and|but|in|on|at|with|without|wearing|carrying|who|today|yesterday|this|last|the|near|by"
    r"|from|before|after|since|until|till)\b))"
)
_MOMENT = rf"(?:{_CLOCK}|{_NUMBER}{_END})"
_PART = r"(?:morning|afternoon|evening|night)\b"
_DAYS_AGO = rf"(?:{_NUMBER}|a)\s+(?:day|week)s?\s+ago\b"
_DAY = (
    r"(?:(?:early|earlier|late|later)\s+)?(?:"
    rf"(?:today|this|(?:(?:the\s+)?day\s+before\s+)?yesterday|(?:(?:last|this)\s+)?(?:{'|'.join(_WEEKDAYS)}))\s+{_PART}"
    r"|last\s+night\b|(?:(?:the\s+)?day\s+before\s+)?yesterday\b|(?:tonight|today)\b"
    rf"|(?:(?:last|this)\s+)?(?:{'|'.join(_WEEKDAYS)})\b|{_DAYS_AGO}"
    r")(?!['’]s)"
)
# Not where it describes something: "in the evening dress".
_THE_PART = (
    rf"the\s+{_PART}(?!\s+(?:bag|bus|cap|clothes|club|coat|dress|gown|guard|jacket|robe|shift|shirt|suit|wear)\b)"
)
_AND = r"\s+(?:and|to|until|till)\s+"
_OPEN = r"after|since|before|until|till"
_SPANS = re.compile(
    rf"\b(?:"
    rf"(?:between|from)\s+(?P<first>{_CLOCK}|{_NUMBER}){_AND}(?P<last>{_MOMENT})"
    rf"|(?P<way>{_OPEN}|from|around|about|at)\s+(?P<clock>{_MOMENT})"
    rf"|(?:(?:in|during|within|over|for|from|since)\s+)?(?:the\s+(?:last|past)|last(?=\s+(?:{_NUMBER}\s|minute|hour)))\s+"
    rf"(?P<count>(?:{_NUMBER}|half(?:\s+an)?(?=\s+hour\b))\s+)?(?P<unit>minute|hour|day|week)s?\b"
    rf"|(?:(?P<ago_way>{_OPEN}|from|around|about|at)\s+)?"
    rf"(?P<ago>{_NUMBER}|half\s+an(?=\s+hour)|an?)\s+(?P<ago_unit>minute|hour)s?\s+ago\b"
    rf"|(?:between|from)\s+(?P<first_day>{_DAY}){_AND}(?P<last_day>{_DAY}|now\b)"
    rf"|(?:(?:(?P<day_way>{_OPEN}|from|in|during|on|of|for)\s+)?(?P<day>{_DAY})"
    rf"|(?P<part_way>{_OPEN}|from|in|during)\s+(?P<the_part>{_THE_PART}))"
    rf"(?:\s+(?:at\s+)?(?P<day_clock>{_MOMENT}))?"
    rf")",
    re.IGNORECASE,
)
_PARTS_H = {"morning": (5, 12), "afternoon": (12, 18), "evening": (18, 23), "night": (21, 29)}
_UNITS_S = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0, "week": 7 * 86_400.0}
_ABOUT_S = 1800.0  # on either side of "at two"
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
    in the evening") tells its half. Without either a clock time that lies ahead is that of yesterday. Monday is the one
    that was last, or is today.
    """
    found = list(_SPANS.finditer(text))
    days = " ".join((each["day"] or each["the_part"] or "").lower() for each in found)
    days_ago = _days_ago(days, now)
    part = re.search("morning|afternoon|evening|night", days)
    reader = _Reader(now, now - timedelta(days=days_ago or 0), days_ago is not None, part[0] if part else None)
    read = [(each, ends) for each in found if (ends := reader.ends(each)) is not None]
    clocks = [each.span() for each, _ in read if each["clock"] or each["first"] or each["day_clock"]]
    # The day, and the part of it, are in the clock times already, and belong to the first.
    told = [each.span() for each, _ in read if clocks and _is_day_alone(each)]
    spans = [Span((each.span(),), *ends) for each, ends in read if each.span() not in told]
    if told:
        first = next(place for place, span in enumerate(spans) if span.places[0] == clocks[0])
        spans[first] = replace(spans[first], places=tuple(sorted((*spans[first].places, *told))))
    return spans


def _is_day_alone(said: re.Match[str]) -> bool:
    return bool(said["day"] or said["the_part"]) and not said["day_clock"]


@dataclass(frozen=True, slots=True)
class _Reader:
    now: datetime
    day: datetime  # that clock times mean
    has_day: bool
    part: str | None

    def ends(self, said: re.Match[str]) -> Ends | None:
        """The span's ends; None for what is no time after all."""
        if said["unit"]:
            return self.now.timestamp() - _count(said["count"] or "one") * _UNITS_S[said["unit"].lower()], None
        if said["ago"]:
            return self._ago((said["ago_way"] or "").lower(), _count(said["ago"]) * _UNITS_S[said["ago_unit"].lower()])
        if said["first"]:
            return self._between(said["first"], said["last"])
        if said["way"]:
            return self._from(said["way"].lower(), said["clock"])
        if said["first_day"]:
            return self._hours(said["first_day"].lower())[0], self._hours(said["last_day"].lower())[1]
        way = (said["day_way"] or said["part_way"] or "").lower()
        if not said["day_clock"]:
            return _toward(way, self._hours((said["day"] or said["the_part"]).lower()))
        return self._from(way, said["day_clock"])

    def _between(self, first: str, last: str) -> Ends | None:
        since, until = self._moment(first), self._moment(last)
        half = re.search(_HALF, last, re.IGNORECASE)
        if half and re.fullmatch(_NUMBER, first, re.IGNORECASE):  # "nine and ten pm", but "eleven and one pm"
            same = self._moment(first + half[0])
            since = same if same and until and same.time() < until.time() else since
        if since is None or until is None:
            return None
        return since.timestamp(), (until if until > since else until + timedelta(hours=12)).timestamp()

    def _from(self, way: str, clock: str) -> Ends | None:
        moment = self._moment(clock)
        if moment is None:
            return None
        at = moment.timestamp()
        if way == "since" or (clock.lower() == "now" and not self.has_day):
            return _toward(way, (at, at))
        if way in ("after", "from"):
            # "after two yesterday" ends with that day
            is_over = self.has_day and moment.date() != self.now.date()
            return at, _midnight(moment + timedelta(days=1)).timestamp() if is_over else None
        if way in ("before", "until", "till"):  # midnight ends a day
            return _midnight(moment - timedelta(microseconds=1)).timestamp(), at
        return at - _ABOUT_S, at + _ABOUT_S

    def _ago(self, way: str, ago_s: float) -> Ends:
        at = self.now.timestamp() - ago_s
        if way in ("since", "after", "from"):
            return at, None
        about_s = min(max(ago_s / 4, 60.0), _ABOUT_S)
        return _toward(way, (at, at)) if way in ("before", "until", "till") else (at - about_s, at + about_s)

    def _hours(self, words: str) -> tuple[float, float]:
        """From when to when what is said to be a day, or a part of it, lasts."""
        if words == "now":
            return self.now.timestamp(), self.now.timestamp()
        part = re.search("morning|afternoon|evening|night", words)
        first, last = _PARTS_H[part[0]] if part else (0, 24)
        days_ago = _days_ago(words, self.now)
        midnight = _midnight(self.day if days_ago is None else self.now - timedelta(days=days_ago))
        return (midnight + timedelta(hours=first)).timestamp(), (midnight + timedelta(hours=last)).timestamp()

    def _moment(self, clock: str) -> datetime | None:
        if clock.lower() == "now":
            return self.now
        read = _read_clock(clock, self.part)
        if read is None:
            return None
        is_after_midnight = self.part == "night" and read[0].hour < _PARTS_H["morning"][0]
        date = self.day.date() + timedelta(days=is_after_midnight)
        moment = datetime.combine(date, read[0], self.now.tzinfo)
        if self.has_day or moment <= self.now:
            return moment
        earlier = moment - timedelta(hours=12)
        is_either_half = read[1] and earlier.date() == moment.date()
        return earlier if is_either_half and earlier <= self.now else moment - timedelta(days=1)


def _days_ago(words: str, now: datetime) -> int | None:
    """How many days before `now` the day is that is said first; None where none is."""
    if ago := re.search(rf"({_NUMBER}|a)\s+(day|week)s?\s+ago", words):
        return round(_count(ago[1]) * (7 if ago[2] == "week" else 1))
    if weekday := re.search("|".join(_WEEKDAYS), words):
        days = (now.weekday() - _WEEKDAYS.index(weekday[0])) % 7
        return 7 if not days and "last" in words else days
    if re.search("yesterday|last", words):
        return 2 if "before yesterday" in words else 1
    return 0 if re.search("today|this|tonight", words) else None


def _count(words: str) -> float:
    number = words.strip().lower()
    if number.startswith("half"):
        return 0.5
    return 1 if number in ("a", "an") else _NUMBERS.get(number) or int(number)


def _midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.date(), time(), moment.tzinfo)


def _toward(way: str, ends: tuple[float, float]) -> Ends:
    """What lies in a time, or on one side of it: "until yesterday" holds yesterday, "before yesterday" does not."""
    first, last = ends
    if way in ("since", "after"):
        return (first if way == "since" else last), None
    if way in ("until", "till", "before"):
        return None, (first if way == "before" else last)
    return first, last


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
    if part == "night" and (hour < _FIRST_MORNING_HOUR or hour == 12):
        return time(hour % 12, minute), False
    if part:
        return time(hour % 12 + 12 * (part != "morning"), minute), False
    return time(hour % 12 + 12 * (hour < _FIRST_MORNING_HOUR or hour == 12), minute), True
