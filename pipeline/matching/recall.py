"""The matcher's memory, read back from the database: one page is read while the one before it is taken in."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from pipeline.contracts import I64
from pipeline.kept import GalleryRows, Thoughts
from pipeline.matching.people import People

_PAGE_ROWS = 16_384


class Decided(Protocol):
    """What is asked of the `Store`, from a thread of its own."""

    def recalled(self, model_digest: str, after_event: int, limit: int, /) -> tuple[GalleryRows, I64, int]: ...
    def thoughts(self, events: I64, /) -> Thoughts: ...


def recall(people: People, store: Decided, model_digest: str) -> None:
    """Fill an empty memory with everything that was decided."""
    events: list[I64] = []  # of each page
    with _uncollected():
        people.recall(
            _pages(store, model_digest, events), lambda places: store.thoughts(np.concatenate(events)[places])
        )


def _pages(store: Decided, model_digest: str, events: list[I64]) -> Iterator[GalleryRows]:
    """Pages with vectors of one model, in the order of decisions."""
    with ThreadPoolExecutor(1, thread_name_prefix="recall") as reader:
        coming = reader.submit(store.recalled, model_digest, 0, _PAGE_ROWS)
        while True:
            rows, own, position = coming.result()
            if not rows.tracklet_ids:
                return
            coming = reader.submit(store.recalled, model_digest, position, _PAGE_ROWS)
            events.append(own)
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
