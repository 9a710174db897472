"""Putting a question to the encoder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidQuery
from pipeline.search.wording import MAX_QUERY_CHARACTERS, Wording, direction, is_heard, wording
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
        ("a man, not wearing glasses, in black", "a man , in black", ("a person with glasses",)),
        ("girl without a bag and without a hat", "girl and", ("a person with a bag", "a person with a hat")),
        ("without a bag", "a person", ("a person with a bag",)),
        ("a notable man in a north face coat", "a notable man in a north face coat", ()),
    ],
)
def test_what_must_not_be_there_is_taken_out_of_the_sentence(
    question: str, present: str, absent: tuple[str, ...]
) -> None:
    assert wording(question) == Wording((present,), absent)


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
    assert asked.present and all(sentence.strip() for sentence in (*asked.present, *asked.absent))


def test_without_absent_things_the_query_is_the_mean_direction() -> None:
    present = unit_vectors(np.random.default_rng(1), 3)
    query = direction(present, present[:0], present[0], 1.0)
    assert np.linalg.norm(query) == pytest.approx(1.0, abs=1e-6)
    assert query @ present.mean(0) > 0


def test_an_absent_thing_lowers_who_shows_it_and_nobody_else() -> None:
    person, bag, other = np.eye(3, dtype=np.float32)
    with_bag = (person + bag) / np.sqrt(2)
    query = direction(person[None], with_bag[None], person, 1.0)
    plain = direction(person[None], with_bag[None][:0], person, 1.0)
    assert query @ with_bag < plain @ with_bag
    assert query @ other == pytest.approx(plain @ other)


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
