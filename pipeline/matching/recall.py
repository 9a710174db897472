"""The matcher's memory, read back from the database: one page is read while the one before it is taken in."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

from pipeline.kept import GalleryRows
from pipeline.matching.people import People

_PAGE_ROWS = 16_384


class Decided(Protocol):
    """What is asked of the `Store`, from a thread of its own."""

    def decided(self, model_digest: str, after_event: int, limit: int, /) -> tuple[GalleryRows, int]: ...


def recall(people: People, store: Decided, model_digest: str) -> None:
    """Fill an empty memory with everything that was decided."""
    with _uncollected():
        people.recall(_pages(store, model_digest))


def _pages(store: Decided, model_digest: str) -> Iterator[GalleryRows]:
    """Pages with vectors of one model, in the order of decisions."""
    with ThreadPoolExecutor(1, thread_name_prefix="recall") as reader:
        coming = reader.submit(store.decided, model_digest, 0, _PAGE_ROWS)
        while True:
            rows, position = coming.result()
            if not rows.tracklet_ids:
                return
            coming = reader.submit(store.decided, model_digest, position, _PAGE_ROWS)
            yield rows


@contextmanager
def _uncollected() -> Iterator[None]:
    """Millions of small objects come and stay; looking through all of them for cycles would take two fifths of the
    time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
