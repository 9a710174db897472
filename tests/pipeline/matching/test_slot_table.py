"""Slots by identity, as a table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import GlobalId
from pipeline.matching.slot_table import SlotTable

LIMIT = 3
given_slots = st.lists(st.tuples(st.integers(1, 6), st.lists(st.integers(0, 99), max_size=LIMIT)), max_size=8)
steps = st.lists(st.one_of(given_slots, st.integers(1, 6)), max_size=12)


@given(steps)
def test_everybody_has_what_was_given_last_as_in_a_dictionary(done: list[list[tuple[int, list[int]]] | int]) -> None:
    table, expected = SlotTable(LIMIT), dict[GlobalId, list[int]]()
    for step in done:
        if isinstance(step, int):
            if step in expected:
                assert table.pop(GlobalId(step)).tolist() == expected.pop(GlobalId(step))
            continue
        own = {GlobalId(number): slots for number, slots in step}
        known = {number: expected.get(number, []) for number in own}
        places = table.open(own)
        held, held_counts = table.at(places)
        assert held.tolist() == [slot for each in known.values() for slot in each]
        assert held_counts.tolist() == list(map(len, known.values()))
        slots = np.array([slot for each in own.values() for slot in each], np.int64)
        table.give(places, slots, np.array(list(map(len, own.values())), np.int64))
        expected |= own
    assert list(table) == list(expected) and len(table) == len(expected)
    slots, counts = table.of(expected)
    assert counts.tolist() == list(map(len, expected.values()))
    assert slots.tolist() == [slot for each in expected.values() for slot in each]


def test_nobody_has_slots_who_never_came() -> None:
    with pytest.raises(KeyError):
        SlotTable(LIMIT).of([GlobalId(1)])


def test_the_table_grows() -> None:
    table = SlotTable(LIMIT)
    places = table.open([GlobalId(number) for number in range(3000)])
    table.give(places, np.arange(3000), np.ones(3000, np.int64))
    assert table.of(map(GlobalId, range(3000)))[0].tolist() == list(range(3000))
