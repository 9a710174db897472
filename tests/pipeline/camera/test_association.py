"""The assignment: optimal, one to one, and the same as without the short cut."""

from __future__ import annotations

from itertools import permutations

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import lap
import numpy as np
import pytest
from hypothesis import given

from pipeline.camera.association import assign, distance_cost
from pipeline.contracts import F64

costs = arrays.arrays(np.float64, st.tuples(st.integers(0, 4), st.integers(0, 4)), elements=st.integers(0, 100)).map(
    lambda cost: cost / 100
)


def cheapest(cost: F64, limit: float) -> float:
    """The least total when staying alone costs half of `limit` a head; by trying everything."""
    rows, columns = cost.shape
    best = (rows + columns) * limit / 2
    places = [*range(columns), *[-1] * rows]
    for chosen in set(permutations(places, rows)):
        pairs = [(row, column) for row, column in enumerate(chosen) if column >= 0]
        total = sum(cost[pair] for pair in pairs) + (rows + columns - 2 * len(pairs)) * limit / 2
        best = min(best, total)
    return best


@given(costs, st.sampled_from([0.305, 0.505, 0.905]))
def test_assignment_is_one_to_one_below_the_limit_and_the_cheapest(cost: F64, limit: float) -> None:
    rows, columns = assign(cost, limit)
    assert len(set(rows.tolist())) == len(rows) == len(set(columns.tolist())) == len(columns)
    assert all(cost[row, column] < limit for row, column in zip(rows, columns, strict=True))
    total = cost[rows, columns].sum() + (sum(cost.shape) - 2 * len(rows)) * limit / 2
    assert total == pytest.approx(cheapest(cost, limit))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_deciding_lonely_pairs_first_changes_nothing(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    cost = np.where(rng.random((size, size + 3)) < 2 / size, rng.random((size, size + 3)), 1.0)
    rows, columns = assign(cost, 0.8)
    _, chosen, _ = lap.lapjv(cost, extend_cost=True, cost_limit=0.8)
    whole = {(row, int(column)) for row, column in enumerate(chosen) if column >= 0}
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == whole


def test_distance_is_measured_in_heights_and_ends_at_the_reach() -> None:
    here = np.array([[100.0, 100.0, 20.0, 50.0]])
    there = np.array([[125.0, 100.0, 20.0, 50.0], [175.0, 100.0, 20.0, 50.0], [100.0, 100.0, 20.0, 90.0]])
    cost = distance_cost(here, there, np.array([1.0]), max_height_change=0.3)
    assert cost[0] == pytest.approx([0.5, np.inf, np.inf])
