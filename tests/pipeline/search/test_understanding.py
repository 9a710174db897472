"""Places and times in a question become filters; what describes somebody stays, to the letter."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import CameraId
from pipeline.search.query import Filters
from pipeline.search.understanding import ChipKind, Understood, understand

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 5, 28, 16, 30, 15, tzinfo=BERLIN)
CAMERAS = [CameraId(name) for name in ("lobby", "front-door", "gate", "hall", "hall-2", "black")]


def asked(question: str) -> Understood:
    return understand(question, CAMERAS, NOW)


def told(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, BERLIN).strftime("%d. %H:%M")


@pytest.mark.parametrize(
    ("question", "description", "since", "until"),
    [
        ("woman, red coat, backpack, after two o'clock", "woman, red coat, backpack", "28. 14:00", ""),
        ("a man after two", "a man", "28. 14:00", ""),
        ("man since 14:00 and no hat", "man and no hat", "28. 14:00", ""),
        ("man with a backpack yesterday morning", "man with a backpack", "27. 05:00", "27. 12:00"),
        ("in the afternoon, black jacket", "black jacket", "28. 12:00", "28. 18:00"),
        ("red coat between 2 and 3 pm", "red coat", "28. 14:00", "28. 15:00"),
        ("red coat from 11 to 1", "red coat", "28. 11:00", "28. 13:00"),
        ("girl before noon", "girl", "28. 00:00", "28. 12:00"),
        ("girl at half past three", "girl", "28. 15:00", "28. 16:00"),
        ("woman after 9 in the evening yesterday", "woman", "27. 21:00", "28. 00:00"),
        ("anybody in the last hour", "anybody", "28. 15:30", ""),
        ("a man in the last 30 minutes", "a man", "28. 16:00", ""),
        ("girl last night", "girl", "27. 21:00", "28. 05:00"),
        ("a man after 11 pm", "a man", "27. 23:00", ""),
        ("a man today", "a man", "28. 00:00", "29. 00:00"),
        ("girl before quarter to two", "girl", "28. 00:00", "28. 13:45"),
        ("a man since yesterday", "a man", "27. 00:00", ""),
        ("since last night, red coat", "red coat", "27. 21:00", ""),
        ("a man since yesterday at two", "a man", "27. 14:00", ""),
        ("a man since 2 pm yesterday", "a man", "27. 14:00", ""),
        ("woman since two o'clock", "woman", "28. 14:00", ""),
        ("man until yesterday", "man", "", "28. 00:00"),
        ("man before yesterday", "man", "", "27. 00:00"),
        ("man from yesterday evening", "man", "27. 18:00", "27. 23:00"),
        ("man between yesterday and this morning", "man", "27. 00:00", "28. 12:00"),
        ("girl until noon", "girl", "28. 00:00", "28. 12:00"),
        ("girl before ten", "girl", "28. 00:00", "28. 10:00"),
        ("girl before midnight", "girl", "27. 00:00", "28. 00:00"),
        ("girl from ten until now", "girl", "28. 10:00", "28. 16:30"),
        ("a man between two and three", "a man", "28. 14:00", "28. 15:00"),
        ("a man between nine and ten pm", "a man", "27. 21:00", "27. 22:00"),
        ("between eleven and one pm a man", "a man", "28. 11:00", "28. 13:00"),
        ("a man for the last hour", "a man", "28. 15:30", ""),
        ("a man last hour", "a man", "28. 15:30", ""),
        ("a man in the last half hour", "a man", "28. 16:00", ""),
        ("late last night, a man", "a man", "27. 21:00", "28. 05:00"),
        ("a man last night at two", "a man", "28. 01:30", "28. 02:30"),
        ("since 14:00 a man in red", "a man in red", "28. 14:00", ""),
        ("after two without a hat", "without a hat", "28. 14:00", ""),
        ("a man on Monday", "a man", "25. 00:00", "26. 00:00"),
        ("a man on Thursday", "a man", "28. 00:00", "29. 00:00"),  # today is one
        ("a man last Thursday", "a man", "21. 00:00", "22. 00:00"),
        ("woman, red coat, Tuesday morning", "woman, red coat", "26. 05:00", "26. 12:00"),
        ("a man after two on Monday", "a man", "25. 14:00", "26. 00:00"),
        ("a man since Monday", "a man", "25. 00:00", ""),
        ("a man between Monday and Wednesday", "a man", "25. 00:00", "28. 00:00"),
        ("a man the day before yesterday", "a man", "26. 00:00", "27. 00:00"),
        ("a man two days ago at noon", "a man", "26. 11:30", "26. 12:30"),
        ("a man since a week ago", "a man", "21. 00:00", ""),
        ("a man about 2 hours ago", "a man", "28. 14:00", "28. 15:00"),
        ("a man since half an hour ago", "a man", "28. 16:00", ""),
        ("a man ten minutes ago", "a man", "28. 16:17", "28. 16:22"),
    ],
)
def test_a_time_that_is_said_is_a_filter(question: str, description: str, since: str, until: str) -> None:
    understood = asked(question)
    [chip] = understood.chips
    assert (understood.description, chip.kind) == (description, ChipKind.TIME)
    assert (told(chip.since_at), told(chip.until_at)) == (since, until)


@pytest.mark.parametrize(
    ("question", "description", "cameras"),
    [
        ("woman in the lobby", "woman", ["lobby"]),
        ("red coat at the front door", "red coat", ["front-door"]),
        ("somebody in the hall 2 with a bag", "somebody with a bag", ["hall-2"]),
        ("man at camera gate, white shirt", "man, white shirt", ["gate"]),
        ("man in the lobby and in the hall", "man", ["lobby", "hall"]),
        ("woman near gate", "woman", ["gate"]),
        ("woman in black", "woman in black", []),
        ("woman in the kitchen", "woman in the kitchen", []),
        ("a lobby boy", "a lobby boy", []),
    ],
)
def test_a_camera_that_is_named_is_a_filter(question: str, description: str, cameras: list[str]) -> None:
    understood = asked(question)
    assert (understood.description, [chip.camera_id for chip in understood.chips]) == (description, cameras)


@pytest.mark.parametrize(
    "question",
    [
        "after two men",
        "two bags",
        "a man at 25:00",
        "at 61",
        "woman before others",
        "a man with a watch",
        "a man between two and three women",
        "woman in the evening dress",
        "the night guard",
        "dressed for the night",
        "man with yesterday's paper",
        "a cap with Friday's logo",
        "shirt with the words black Fridays",
        "a coat of an hour",
    ],
)
def test_words_that_are_no_times_stay(question: str) -> None:
    assert asked(question) == Understood(question, ())


def test_every_chip_can_be_taken_away() -> None:
    question = "woman in a red coat in the lobby after two"
    place, moment = asked(question).chips
    assert asked(place.without).chips == (asked(place.without).chips[0],)
    assert asked(place.without).chips[0].since_at == moment.since_at
    assert [chip.camera_id for chip in asked(moment.without).chips] == ["lobby"]
    assert asked(asked(place.without).chips[0].without) == Understood("woman in a red coat", ())


def test_said_and_chosen_filters_are_one() -> None:
    filters = Filters(frozenset({CameraId("gate")}), since_at=NOW.timestamp() - 60.0, shortest_s=3.0)
    narrowed = asked("man in the lobby after two").narrowed(filters)
    assert narrowed.camera_ids == {"gate", "lobby"}
    assert (narrowed.since_at, narrowed.until_at, narrowed.shortest_s) == (NOW.timestamp() - 60.0, None, 3.0)
    assert asked("a man").narrowed(filters) == filters


@given(st.text(max_size=60), st.sampled_from([NOW, datetime(2026, 1, 1, 0, 5, tzinfo=UTC)]))
def test_any_text_is_understood_and_cut_at_its_chips(text: str, now: datetime) -> None:
    understood = understand(text, CAMERAS, now)
    assert all(len(chip.without) < len(text) for chip in understood.chips)
    assert len(understood.description) <= len(text)


WAYS = ["since", "after", "before", "until", "till", "from"]
TIMES = ["yesterday", "last night", "this morning", "the morning", "two", "two o'clock", "noon", "9 pm", "11:30", "now"]
TIMES += ["Monday", "last friday evening", "the day before yesterday", "two days ago", "an hour ago"]


@given(
    st.sampled_from(["a man with a watch", "two women, red coat", "somebody for whom others wait"]),
    st.sampled_from(WAYS),
    st.sampled_from(TIMES),
    st.booleans(),
)
def test_no_word_of_a_time_is_left_in_the_description(who: str, way: str, when: str, is_first: bool) -> None:
    understood = asked(f"{way} {when}, {who}" if is_first else f"{who} {way} {when}")
    [chip] = understood.chips
    assert (understood.description, chip.words) == (who, f"{way} {when}")
    assert chip.since_at is not None or chip.until_at is not None


clocks = st.sampled_from(["two", "14:00", "9 am", "noon", "half past four", "11pm", "midnight"])


@given(st.sampled_from(["after", "before", "at", "since"]), clocks)
def test_a_clock_time_without_a_day_never_lies_ahead(way: str, clock: str) -> None:
    [chip] = asked(f"a man {way} {clock}").chips
    said = chip.since_at if way in ("after", "since") else chip.until_at
    assert said is not None and said <= NOW.timestamp() + 1800.0
