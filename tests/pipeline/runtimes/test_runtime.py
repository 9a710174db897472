from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtimes.runtime import filled, first_rows


@given(st.integers(1, 40), st.integers(0, 40))
def test_filling_up_adds_rows_behind_and_never_more_than_a_third(rows: int, full: int) -> None:
    batch = np.arange(rows)
    found = filled(batch, full)
    assert len(found) in (rows, full)
    assert 3 * len(found) <= 4 * rows
    (back,) = first_rows([found], rows)
    assert back.tolist() == batch.tolist()
