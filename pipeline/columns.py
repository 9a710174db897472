"""Columns that grow."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Number = TypeVar("Number", bound=np.generic)


def with_room(column: npt.NDArray[Number], extra: int) -> npt.NDArray[Number]:
    """The same, with so many zeros behind. Room that nobody has written to costs no memory: zeros that are copied
    would."""
    grown = np.zeros((len(column) + extra, *column.shape[1:]), column.dtype)
    grown[: len(column)] = column
    return grown
