"""Moments, confidences and answers in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pipeline.search.people import Answer
from services.api.words import (
    answer_in_words,
    confidence_in_words,
    duration_in_words,
    figure_in_words,
    moment_in_words,
    share_in_words,
    transits_in_short,
    transits_in_words,
)

NOW = datetime(2026, 5, 28, 16, 30, 15, tzinfo=ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (NOW, "16:30:15"),
        (NOW - timedelta(hours=17), "27 May 23:30:15"),
        (datetime(2025, 12, 31, 23, 30, tzinfo=UTC), "1 Jan 00:30:00"),
        (datetime(2025, 12, 30, 12, 0, tzinfo=UTC), "30 Dec 2025 13:00"),
    ],
)
def test_a_moment_is_told_in_the_zone_of_the_site(moment: datetime, words: str) -> None:
    assert moment_in_words(moment.timestamp(), NOW) == words


@pytest.mark.parametrize(
    ("duration_s", "words"),
    [(-3, "0 s"), (4.4, "4 s"), (59.6, "1 min"), (3600, "1 h"), (7500, "2 h 5 min"), (200_000, "2 d")],
)
def test_a_duration_is_told_roughly(duration_s: float, words: str) -> None:
    assert duration_in_words(duration_s) == words


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer((), 0, 0), "Nobody was seen by these cameras in this time."),
        (Answer((), 1, 0), "No confident match: 1 person compared, none similar enough."),
        (Answer((), 9, 1), "1 match, 9 people compared."),
        (Answer((), 9, 2, ("fez",)), "2 matches, 9 people compared. The model does not know “fez”."),
    ],
)
def test_an_answer_is_told_in_a_sentence(answer: Answer, words: str) -> None:
    assert answer_in_words(answer) == words


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "under 1 %"), (0.0049, "under 1 %"), (0.01, "1 %"), (0.87, "87 %"), (0.99, "99 %"),
        (0.996, "over 99 %"), (1.0, "over 99 %"),
    ],
)  # fmt: skip
def test_nothing_is_told_as_certain_or_impossible(share: float, words: str) -> None:
    assert share_in_words(share) == words


def test_counts_have_no_digits_behind_the_point_and_shares_have_four() -> None:
    assert [figure_in_words(figure) for figure in (1141.0, 0.81837, 1.0, 0.0, 2.5)] == [
        "1,141", "0.8184", "1", "0.0000", "2.5000",
    ]  # fmt: skip


def test_nobody_below_the_threshold_is_called_likely() -> None:
    assert confidence_in_words(0.2, False) == "unlikely"
    assert confidence_in_words(0.99, False) == "not certain enough"
    assert confidence_in_words(0.5, True) == "possible"


@pytest.mark.parametrize(
    ("transits_s", "words", "short"),
    [
        ((34.2,), "34 s", "34 s"),
        ((8.0, 9.4, 9.0), "8 s to 9 s, 3 times", "8–9 s ×3"),
        ((12.0, 121.0), "12 s to 2 min, 2 times", "12 s–2 min ×2"),
        ((3600.0, 7500.0), "1 h to 2 h 5 min, 2 times", "1 h–2 h 5 min ×2"),
        ((-4.0,), "at the same time", "0 s"),
        ((-4.0, 6.0), "up to 6 s, 2 times", "0–6 s ×2"),
    ],
)
def test_the_times_of_a_way_are_told_in_words(transits_s: tuple[float, ...], words: str, short: str) -> None:
    assert (transits_in_words(transits_s), transits_in_short(transits_s)) == (words, short)
