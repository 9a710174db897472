"""The gallery as one NumPy matrix, compared by matrix products: exact, and fast for batches of queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.adapters.gallery_facts import FactBook
from pipeline.columns import with_room
from pipeline.contracts import F32, I64
from pipeline.errors import ConfigurationError
from pipeline.gallery import GalleryFacts, GalleryFilter
from pipeline.runtimes.machine import processor_precisions

if TYPE_CHECKING:
    from pipeline.adapters.short_list import ShortList

_BLOCK_ROWS = 4096  # the similarities of a batch of 64 to one block are 1 MB and stay in the cache


class ExactGallery:
    """Appearance vectors in memory, compared with all of them. Not for use by several threads at once.

    Where the processor multiplies in bfloat16, a large gallery is searched in that, and only whoever can be among the
    nearest is compared exactly. That is five times as fast, and loads torch.
    """

    def __init__(self, dimension: int, short_list_from: int = 4096) -> None:
        """`short_list_from`: so many vectors make a gallery large."""
        self._vectors = np.zeros((1024, dimension), np.float32)
        self._rows = np.zeros(1024, np.int64)
        self._slots: dict[int, int] = {}
        self._facts = FactBook()
        self._short_list_from = short_list_from
        self._short_list: ShortList | None = None

    def add(self, rows: I64, vectors: F32, facts: GalleryFacts | None = None) -> None:
        """Row numbers (N,) and unit vectors (N, D). A row that exists is replaced; of two alike the last one counts."""
        check_vectors(vectors, self._vectors.shape[1])
        self._reserve(len(self) + len(rows))
        slots = np.array([self._slots.setdefault(row, len(self._slots)) for row in rows.tolist()], np.int64)
        self._rows[slots] = rows
        self._vectors[slots] = vectors
        self._copy(slots)
        self._facts.put(rows, facts)

    def remove(self, rows: I64) -> None:
        """Unknown rows are passed over. The last vector moves into each gap."""
        self._facts.drop(rows)
        changed: list[int] = []
        for row in rows.tolist():
            slot = self._slots.pop(row, None)
            if slot is None:
                continue
            last = len(self._slots)
            if slot != last:
                self._rows[slot] = self._rows[last]
                self._vectors[slot] = self._vectors[last]
                self._slots[int(self._rows[slot])] = slot
            self._vectors[last] = 0.0  # what is removed does not stay behind in memory
            changed += [slot, last]
        self._copy(np.array(changed, np.int64))

    def nearest(self, vectors: F32, top_k: int, only: GalleryFilter | None = None) -> tuple[I64, F32]:
        """(N, k) row numbers and similarities, best first; -1 and -inf fill what is missing."""
        check_vectors(vectors, self._vectors.shape[1])
        held_rows, held = self._rows[: len(self)], self._vectors[: len(self)]
        if only is not None and only != GalleryFilter():
            held_rows = self._facts.passing(only)
            held = self._vectors[[self._slots[row] for row in held_rows.tolist()]]
        elif self._short_list is not None:
            return self._best_of(self._short_list.candidates(vectors, len(self), top_k), vectors, top_k)
        found = np.full((len(vectors), top_k), -1, np.int64)
        similarities = np.full((len(vectors), top_k), -np.inf, np.float32)
        for start in range(0, len(held), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            scores = vectors @ held[block].T
            # Few rows of a later block beat what is held already; the others need no sorting.
            better = np.flatnonzero((scores > similarities[:, -1:]).any(axis=0))
            if len(better):
                rows = np.broadcast_to(held_rows[block][better], (len(vectors), len(better)))
                found, similarities = _best(
                    np.hstack([found, rows]), np.hstack([similarities, scores[:, better]]), top_k
                )
        return found, similarities

    def __len__(self) -> int:
        return len(self._slots)

    def _best_of(self, candidates: Sequence[I64], vectors: F32, top_k: int) -> tuple[I64, F32]:
        """The nearest of the slots that each query has to choose from."""
        found = np.full((len(vectors), top_k), -1, np.int64)
        similarities = np.full((len(vectors), top_k), -np.inf, np.float32)
        for query, slots in enumerate(candidates):
            exact = self._vectors[slots] @ vectors[query]
            best = np.argsort(-exact, kind="stable")[:top_k]
            found[query, : len(best)], similarities[query, : len(best)] = self._rows[slots[best]], exact[best]
        return found, similarities

    def _copy(self, slots: I64) -> None:
        """Let the short list follow."""
        if self._short_list is not None:
            self._short_list.put(slots, self._vectors[slots])
        elif len(self) >= self._short_list_from and "bf16" in processor_precisions():
            from pipeline.adapters.short_list import ShortList

            self._short_list = ShortList(self._vectors[: len(self)], len(self._vectors))

    def _reserve(self, count: int) -> None:
        if count > len(self._rows):
            extra = max(count, 2 * len(self._rows)) - len(self._rows)
            self._vectors, self._rows = with_room(self._vectors, extra), with_room(self._rows, extra)
            if self._short_list is not None:
                self._short_list.widen(len(self._rows))


def check_vectors(vectors: F32, dimension: int) -> None:
    """Raises `ConfigurationError` unless `vectors` is (N, dimension) and finite."""
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise ConfigurationError(
            f"vectors of shape {vectors.shape} met a gallery of dimension {dimension}; expected (N, {dimension}): "
            "they come from another model, so restart the matcher to begin a gallery of its own"
        )
    if not np.isfinite(vectors).all():
        raise ConfigurationError("vectors hold NaN or infinity; expected finite unit vectors: check the model")


def _best(rows: I64, similarities: F32, top_k: int) -> tuple[I64, F32]:
    """The `top_k` columns with the highest similarity, best first."""
    if top_k < similarities.shape[1]:
        chosen = np.argpartition(-similarities, top_k - 1, axis=1)[:, :top_k]
        rows, similarities = np.take_along_axis(rows, chosen, 1), np.take_along_axis(similarities, chosen, 1)
    order = np.argsort(-similarities, axis=1, kind="stable")
    return np.take_along_axis(rows, order, 1), np.take_along_axis(similarities, order, 1)
