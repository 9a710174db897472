"""What galleries in this process know of their rows beside the vectors, and which rows pass a filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.contracts import I64
from pipeline.gallery import GalleryFacts, GalleryFilter

Chosen = npt.NDArray[np.bool_]


class FactBook:
    """Facts by row number. Filtering after a change costs a pass over all of them in Python, and then NumPy only."""

    def __init__(self) -> None:
        self._facts: dict[int, tuple[str, str, str, float, float]] = {}
        self._columns: list[npt.NDArray[Any]] | None = None

    def put(self, rows: I64, facts: GalleryFacts | None) -> None:
        """Replace what was known of these rows; without `facts` by nothing."""
        if facts is None:
            self.drop(rows)
            return
        known = zip(
            facts.sites,
            facts.camera_ids,
            facts.model_digests,
            facts.started_at.tolist(),
            facts.ended_at.tolist(),
            strict=True,
        )
        self._facts.update(zip(rows.tolist(), known, strict=True))
        self._columns = None

    def drop(self, rows: I64) -> None:
        """Unknown rows are passed over."""
        for row in rows.tolist() if self._facts else ():
            self._facts.pop(row, None)
            self._columns = None

    def passing(self, only: GalleryFilter) -> I64:
        """The rows that pass."""
        rows = np.fromiter(self._facts, np.int64, len(self._facts))
        if self._columns is None:
            self._columns = [np.array(column) for column in zip(*self._facts.values(), strict=True)]
        if not self._columns:
            return rows
        sites, camera_ids, model_digests, started_at, ended_at = self._columns
        passes = _is_one_of(sites, only.sites) & _is_one_of(camera_ids, only.camera_ids)
        passes &= _is_one_of(model_digests, only.model_digests)
        if only.since_at is not None:
            passes &= ended_at >= only.since_at
        if only.until_at is not None:
            passes &= started_at <= only.until_at
        return rows[passes]


def _is_one_of(column: npt.NDArray[Any], wanted: Sequence[str]) -> Chosen:
    return np.isin(column, list(wanted)) if wanted else np.ones(len(column), bool)
