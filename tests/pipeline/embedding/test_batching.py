from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedding.batching import BatchConfig, is_due, patience_s, taken

CONFIG = BatchConfig(crops=8, max_wait_s=0.25)
waits = st.floats(0.0, 1.0)
counts = st.integers(0, 20)


def test_nothing_is_never_due() -> None:
    assert not is_due(0, 99.0, CONFIG)


def test_a_batch_is_due_when_full_or_late() -> None:
    assert is_due(8, 0.0, CONFIG)
    assert is_due(1, 0.25, CONFIG)
    assert not is_due(7, 0.2, CONFIG)


@given(counts, waits)
def test_waiting_out_the_patience_makes_a_batch_due(crops: int, waited_s: float) -> None:
    if crops:
        assert is_due(crops, waited_s + patience_s(crops, waited_s, 9.0, CONFIG) + 1e-9, CONFIG)
    else:
        assert patience_s(crops, waited_s, 9.0, CONFIG) == 9.0


@given(st.lists(st.integers(1, 16), max_size=12))
def test_a_batch_is_whole_tracklets_and_as_many_as_fit_but_at_least_one(crop_counts: list[int]) -> None:
    count = taken(crop_counts, CONFIG)
    assert (count == 0) == (not crop_counts)
    assert count <= 1 or sum(crop_counts[:count]) <= CONFIG.crops
    assert count == len(crop_counts) or sum(crop_counts[: count + 1]) > CONFIG.crops


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        BatchConfig(crops=0)
