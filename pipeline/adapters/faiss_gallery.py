"""The gallery in FAISS: flat inner product with row numbers, exact."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.adapters.exact_gallery import check_vectors
from pipeline.adapters.gallery_facts import FactBook
from pipeline.contracts import F32, I64
from pipeline.errors import ConfigurationError
from pipeline.gallery import GalleryFacts, GalleryFilter


class FaissGallery:
    """`IndexIDMap2` over a flat inner-product index. `threads` is FAISS's own number of threads (of the process)."""

    def __init__(self, dimension: int, threads: int | None = None) -> None:
        try:
            import faiss
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "faiss is not installed; expected it for gallery kind 'faiss': pip install 'sightline[cpu]' "
                "(or [gpu]), or choose the kind 'exact'"
            ) from error
        if threads is not None:
            faiss.omp_set_num_threads(threads)
        self._faiss = faiss
        self._dimension = dimension
        self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))
        self._known: set[int] = set()
        self._facts = FactBook()

    def add(self, rows: I64, vectors: F32, facts: GalleryFacts | None = None) -> None:
        """Row numbers (N,) and unit vectors (N, D). A row that exists is replaced; of two alike the last one counts."""
        check_vectors(vectors, self._dimension)
        latest = {row: place for place, row in enumerate(rows.tolist())}
        places = np.array(list(latest.values()), np.int64)
        self.remove(rows[places])
        self._index.add_with_ids(np.ascontiguousarray(vectors[places]), rows[places])
        self._known |= latest.keys()
        self._facts.put(rows, facts)

    def remove(self, rows: I64) -> None:
        """Unknown rows are passed over."""
        known = [row for row in rows.tolist() if row in self._known]
        if known:
            self._index.remove_ids(self._faiss.IDSelectorBatch(np.array(known, np.int64)))
            self._known.difference_update(known)
            self._facts.drop(rows)

    def nearest(self, vectors: F32, top_k: int, only: GalleryFilter | None = None) -> tuple[I64, F32]:
        """(N, k) row numbers and similarities, best first; -1 and -inf fill what is missing."""
        check_vectors(vectors, self._dimension)
        chosen: Any = None
        if only is not None and only != GalleryFilter():
            passing = self._faiss.IDSelectorBatch(self._facts.passing(only))
            chosen = self._faiss.SearchParameters()
            chosen.sel = passing  # does not keep it alive; this function does
        similarities, rows = self._index.search(np.ascontiguousarray(vectors), top_k, params=chosen)
        similarities[rows < 0] = -np.inf
        return rows, similarities

    def __len__(self) -> int:
        return len(self._known)
