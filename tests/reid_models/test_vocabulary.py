"""Words and their numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid_models.vocabulary import (
    FIRST_WORD,
    PAD,
    START,
    UNKNOWN,
    Vocabulary,
    learn_vocabulary,
    scarce_words,
    split_words,
)

WORDS = Vocabulary(("backpack", "dress", "gray", "red", "shirt", "tshirt", "woman"))


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("A Woman's RED T-shirt.", ["a", "woman", "red", "tshirt"]),
        ("grey back pack, tee-shirt", ["gray", "backpack", "tshirt"]),
        ("", []),
    ],
)
def test_spellings_of_one_word_become_one(sentence: str, words: list[str]) -> None:
    assert split_words(sentence) == words


def test_unknown_words_are_named_once_in_order_and_plurals_are_known() -> None:
    assert WORDS.unknown_words("Red poncho and shirts, dresses, PONCHO") == ["poncho", "and"]


def test_scarce_words_are_named_like_unknown_ones_in_plural_too() -> None:
    assert WORDS.unknown_words("red shirts and a dress", scarce=["shirt"]) == ["shirts", "and", "a"]


def test_a_word_is_scarce_by_people_not_by_sentences() -> None:
    descriptions = [["a red shirt", "a red shirt again"], ["red dress"], ["gray dress", "woman"]]
    assert scarce_words(descriptions, WORDS, 2) == ("backpack", "gray", "shirt", "tshirt", "woman")


@given(st.text(max_size=200))
def test_any_text_becomes_start_numbers_end_padding(sentence: str) -> None:
    (row,) = WORDS.encode([sentence], 16).tolist()
    end = row.index(WORDS.size - 1)
    assert row[0] == START
    assert all(number == UNKNOWN or FIRST_WORD <= number < WORDS.size - 1 for number in row[1:end])
    assert all(number == PAD for number in row[end + 1 :])


def test_words_seen_too_rarely_are_left_out() -> None:
    assert learn_vocabulary(["red shirt", "red dress", "red"], least_count=2).words == ("red",)


def test_the_words_of_kept_sentences_are_known_however_rare() -> None:
    kept = learn_vocabulary(["red shirt", "red"], 2, kept=["A photo of a X."])
    assert kept.words == ("a", "of", "photo", "red", "x")
