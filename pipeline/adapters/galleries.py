"""The galleries in this process by name, and which one to take."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.adapters.faiss_gallery import FaissGallery
from pipeline.errors import ConfigurationError
from pipeline.gallery import Gallery

GALLERIES: dict[str, Callable[[int], Gallery]] = {"auto": ExactGallery, "exact": ExactGallery, "faiss": FaissGallery}


def open_gallery(kind: str, dimension: int) -> Gallery:
    """The gallery named `auto`, `exact` or `faiss`, empty.

    Both are exact. The matcher asks in batches, and for a batch of 64 flat FAISS takes about twice as long as matrix
    products at 10,000 vectors and four times at 100,000 (512 values, one core; `tests/bench/bench_gallery.py`): so
    `auto` is `exact`. At 100,000 a single query takes FAISS about half as long.
    """
    if kind not in GALLERIES:
        raise ConfigurationError(f"gallery kind {kind!r} is unknown; expected one of {', '.join(GALLERIES)}")
    return GALLERIES[kind](dimension)
