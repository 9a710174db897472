"""What a column holds stays when it grows."""

from __future__ import annotations

import numpy as np

from pipeline.columns import with_room


def test_a_column_that_grows_keeps_its_rows_its_type_and_has_zeros_behind() -> None:
    column = np.arange(6, dtype=np.float16).reshape(2, 3) + 1
    grown = with_room(column, 2)
    assert grown.dtype == column.dtype and grown.shape == (4, 3)
    assert np.array_equal(grown[:2], column) and not grown[2:].any()
