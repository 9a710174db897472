"""Sentences made from coded attributes are true."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_models.datasets.attribute_sentences import (
    LOWER_COLOURS,
    UNTOLD,
    UPPER_COLOURS,
    attribute_sentence,
    claims,
    told_part,
)
from reid_models.vocabulary import split_words

yes_no = st.sampled_from((1, 2))
NAMES = ("backpack", "bag", "handbag", "hat", "hair", "gender", "up", "down", "clothes")
WOMEN = {"woman", "lady", "female", "girl", "she"}
MEN = {"man", "male", "guy", "gentleman", "boy", "he"}


@st.composite
def coded(draw: st.DrawFn) -> dict[str, int]:
    upper, lower = draw(st.sampled_from((*UPPER_COLOURS, ""))), draw(st.sampled_from((*LOWER_COLOURS, "")))
    record = {name: draw(yes_no) for name in NAMES} | {"age": draw(st.integers(1, 4))}
    record |= {f"up{colour}": 1 + (colour == upper) for colour in UPPER_COLOURS}
    return record | {f"down{colour}": 1 + (colour == lower) for colour in LOWER_COLOURS}


@settings(max_examples=300)
@given(coded(), st.integers(0, 2**31), st.floats(0.0, 1.0))
def test_a_sentence_contradicts_no_attribute(record: dict[str, int], seed: int, detail: float) -> None:
    words = set(split_words(attribute_sentence(record, np.random.default_rng(seed), detail)))
    assert not words & (MEN if record["gender"] == 2 else WOMEN)
    assert not words & {"backpack", "rucksack", "knapsack"} or record["backpack"] == 2
    assert not words & {"handbag", "purse"} or record["handbag"] == 2
    assert not words & {"hat", "cap"} or record["hat"] == 2
    assert not words & {"pants", "trousers", "jeans", "slacks"} or record["clothes"] == 2
    assert not words & {"skirt", "dress"} or record["clothes"] == 1
    for colour in ("red", "yellow", "pink", "green"):
        assert colour not in words or 2 in (record.get(f"up{colour}"), record.get(f"down{colour}"))


@given(coded(), st.integers(0, 2**31))
def test_a_full_sentence_names_everything_carried(record: dict[str, int], seed: int) -> None:
    words = set(split_words(attribute_sentence(record, np.random.default_rng(seed), detail=1.0)))
    assert record["backpack"] == 1 or words & {"backpack", "rucksack", "knapsack"}
    assert record["handbag"] == 1 or words & {"handbag", "purse", "hand"}


@given(coded(), st.integers(0, 2**31))
def test_one_seed_gives_one_sentence(record: dict[str, int], seed: int) -> None:
    first, second = (attribute_sentence(record, np.random.default_rng(seed)) for _ in range(2))
    assert first == second


@settings(max_examples=200)
@given(coded(), st.integers(0, 2**31), st.floats(0.0, 1.0))
def test_what_a_partial_sentence_says_is_among_its_claims(record: dict[str, int], seed: int, detail: float) -> None:
    rng = np.random.default_rng(seed)
    told = told_part(record, rng, detail)
    said, words = claims(told), set(split_words(attribute_sentence(told, rng, detail=1.0)))
    assert said <= set(record.items())
    assert not words & {"backpack", "rucksack", "knapsack"} or ("backpack", 2) in said
    assert not words & (WOMEN | MEN) or ("gender", record["gender"]) in said
    assert "short" not in words or {("hair", 1), ("up", 2), ("down", 2)} & said
    for colour in ("red", "yellow", "pink", "green"):
        assert colour not in words or {(f"up{colour}", 2), (f"down{colour}", 2)} & said


@given(coded(), st.integers(0, 2**31))
def test_full_detail_tells_everything_and_one_half_is_always_told(record: dict[str, int], seed: int) -> None:
    assert told_part(record, np.random.default_rng(seed), 1.0) == record
    told = told_part(record, np.random.default_rng(seed), 0.0)
    assert (told["up"] == UNTOLD) != (told["down"] == UNTOLD)
