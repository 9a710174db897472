"""Putting a question to the encoder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidQuery
from pipeline.search.wording import MAX_QUERY_CHARACTERS, ask_vectors, is_heard, wording
from tests.fakes import unit_vectors


def test_a_few_words_become_sentences_about_a_person() -> None:
    assert "a person wearing a red coat" in wording("red coat").present
    assert "a person with an orange bag" in wording("orange bag").present
    assert "a person wearing blue jeans" in wording("blue jeans").present
    assert "a person wearing a dress" in wording("dress").present


@pytest.mark.parametrize(
    "question", ["woman in red", "He wears a black hat", "someone tall", "a very long blue winter coat"]
)
def test_a_sentence_stays_as_it_is(question: str) -> None:
    assert wording(question).present == (question,)


@pytest.mark.parametrize(
    ("question", "present", "absent"),
    [
        ("man without a backpack", "man", ("a person with a backpack",)),
        ("woman in a red coat with no hat", "woman in a red coat", ("a person with a hat",)),
        ("a man, not wearing glasses, in black", "a man, in black", ("a person with glasses",)),
        ("girl without a bag and without a hat", "girl", ("a person with a bag", "a person with a hat")),
        ("man in a suit but not a tie", "man in a suit", ("a person with a tie",)),
        ("without a bag", "a person", ("a person with a bag",)),
        ("a notable man in a north face coat", "a notable man in a north face coat", ()),
    ],
)
def test_what_must_not_be_there_is_taken_out_of_the_sentence(
    question: str, present: str, absent: tuple[str, ...]
) -> None:
    asked = wording(question)
    assert (asked.present, asked.absent) == ((present,), absent)


@pytest.mark.parametrize(
    ("question", "said", "denied"),
    [
        ("red coat, no hat, backpack", ("red coat", "backpack"), ("hat",)),
        ("a woman wearing a red coat and carrying a backpack.", ("woman", "red coat", "backpack"), ()),
        ("white shirt and dark trousers", ("white shirt", "dark trousers"), ()),
        ("dress", ("dress",), ()),
    ],
)
def test_what_is_said_of_a_person_is_told_apart(question: str, said: tuple[str, ...], denied: tuple[str, ...]) -> None:
    asked = wording(question)
    assert (asked.said, asked.denied) == (said, denied)
    assert len(asked.parts) == (len(said) if len(said) > 1 else 0)


def test_a_list_becomes_a_sentence() -> None:
    assert wording("woman, red coat, backpack").present == ("a woman with a red coat and a backpack",)
    assert "a person with a red coat and a backpack" in wording("red coat, backpack").present


@pytest.mark.parametrize("question", ["", " \n\t", "x" * (MAX_QUERY_CHARACTERS + 1)])
def test_nothing_and_far_too_much_are_refused(question: str) -> None:
    with pytest.raises(InvalidQuery, match="expected"):
        wording(question)


@given(st.text(max_size=80))
def test_any_text_has_a_wording_or_is_an_invalid_query(text: str) -> None:
    try:
        asked = wording(text)
    except InvalidQuery:
        return
    assert asked.present and all(sentence.strip() for sentence in asked.sentences)


@pytest.mark.parametrize("question", ["red coat", "woman, red coat, no hat"])
def test_what_shall_be_there_is_a_direction_and_every_absent_thing_a_difference(question: str) -> None:
    asked = wording(question)
    vectors = unit_vectors(np.random.default_rng(1), len(asked.sentences) + 1)
    present, absent = ask_vectors(asked, vectors[:-1], vectors[-1])
    assert np.linalg.norm(present) == pytest.approx(1.0, abs=1e-6)
    assert present @ vectors[: len(asked.present)].mean(0) > 0
    assert absent == pytest.approx(vectors[len(vectors) - 1 - len(asked.absent) : -1] - vectors[-1])


@pytest.mark.parametrize(
    ("question", "unknown", "heard"),
    [
        ("woman with an umbrella", ["umbrella"], False),
        ("umbrella", ["umbrella"], False),
        ("red coat and a zeppelin", ["zeppelin"], False),
        ("please find a woman in a red coat", ["please", "find"], True),
        ("a young woman with long dark hair in a red coat, blue jeans and hightops", ["hightops"], True),
        ("woman in red", [], True),
        ("the", ["the"], True),
    ],
)
def test_a_question_is_heard_if_what_describes_is_known(question: str, unknown: list[str], heard: bool) -> None:
    assert is_heard(question, unknown) == heard
