"""The seam of the nearest neighbours: vectors in, row numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.contracts import F32, F64, I64


@dataclass(frozen=True, slots=True)
class GalleryFacts:
    """What a gallery can be filtered by, as columns: one entry for each row."""

    sites: Sequence[str]
    camera_ids: Sequence[str]
    model_digests: Sequence[str]
    started_at: F64  # (N,)
    ended_at: F64  # (N,)


@dataclass(frozen=True, slots=True)
class GalleryFilter:
    """Which rows may be found: of these sites, cameras and models (none named: of all), overlapping this span of time.

    A row without facts passes only the filter that asks for nothing.
    """

    sites: tuple[str, ...] = ()
    camera_ids: tuple[str, ...] = ()
    model_digests: tuple[str, ...] = ()
    since_at: float | None = None
    until_at: float | None = None


class Gallery(Protocol):
    """Appearance vectors by row number: NumPy or FAISS in this process, or Milvus; one contract suite.

    A cache that is rebuilt from the database, so a new one is empty. Milvus raises `Unavailable` while it does not
    answer.
    """

    def add(self, rows: I64, vectors: F32, facts: GalleryFacts | None = None) -> None:
        """Row numbers (N,) and unit vectors (N, D). A row that exists is replaced, its facts too."""

    def remove(self, rows: I64) -> None: ...

    def nearest(self, vectors: F32, top_k: int, only: GalleryFilter | None = None) -> tuple[I64, F32]:
        """(N, k) row numbers and similarities, best first; -1 and -inf fill what is missing."""

    def __len__(self) -> int: ...
