"""The gallery in FAISS: flat inner product with row numbers, exact."""

from __future__ import annotations

import numpy as np

from pipeline.adapters.exact_gallery import ExactGallery, check_vectors
from pipeline.contracts import F32, I64
from pipeline.errors import ConfigurationError
from pipeline.interfaces import Gallery


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

    def add(self, rows: I64, vectors: F32) -> None:
        """Row numbers (N,) and unit vectors (N, D). A row that exists is replaced; of two alike the last one counts."""
        check_vectors(vectors, self._dimension)
        latest = {row: place for place, row in enumerate(rows.tolist())}
        places = np.array(list(latest.values()), np.int64)
        self.remove(rows[places])
        self._index.add_with_ids(np.ascontiguousarray(vectors[places]), rows[places])
        self._known |= latest.keys()

    def remove(self, rows: I64) -> None:
        """Unknown rows are passed over."""
        known = [row for row in rows.tolist() if row in self._known]
        if known:
            self._index.remove_ids(self._faiss.IDSelectorBatch(np.array(known, np.int64)))
            self._known.difference_update(known)

    def nearest(self, vectors: F32, top_k: int) -> tuple[I64, F32]:
        """(N, k) row numbers and similarities, best first; -1 and -inf fill what is missing."""
        check_vectors(vectors, self._dimension)
        similarities, rows = self._index.search(np.ascontiguousarray(vectors), top_k)
        similarities[rows < 0] = -np.inf
        return rows, similarities

    def __len__(self) -> int:
        return len(self._known)


def open_gallery(kind: str, dimension: int) -> Gallery:
    """The gallery named `auto`, `exact` or `faiss`, empty.

    Both are exact. The matcher asks in batches, and for a batch of 64 flat FAISS takes about twice as long as matrix
    products at 10,000 vectors and four times at 100,000 (512 values, one core; `tests/bench/bench_gallery.py`): so
    `auto` is `exact`. At 100,000 a single query takes FAISS about half as long.
    """
    if kind not in GALLERIES:
        raise ConfigurationError(f"gallery kind {kind!r} is unknown; expected one of {', '.join(GALLERIES)}")
    return GALLERIES[kind](dimension)


GALLERIES: dict[str, type[ExactGallery] | type[FaissGallery]] = {
    "auto": ExactGallery,
    "exact": ExactGallery,
    "faiss": FaissGallery,
}
