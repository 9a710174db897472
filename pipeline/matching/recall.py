"""The matcher's memory, read back from the database: pages are read while those before them are taken in."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from pipeline.contracts import I64
from pipeline.kept import GalleryRows, Thoughts
from pipeline.matching.people import People

_PAGE_ROWS = 16_384
_MANY = 100_000  # tracklets of a memory that is set apart from the collector
_AHEAD = 12  # pages of 20 MB that wait at most, while the one who takes them loads what a large gallery needs

_Page = tuple[GalleryRows, I64]  # tracklets, and the events of the decisions on them


class Decided(Protocol):
    """What is asked of the `Store`, from threads of its own."""

    def decisions(self, after_event: int, limit: int, /) -> _Page: ...
    def most_vectors(self, model_digest: str, /) -> int: ...
    def with_vectors(self, model_digest: str, rows: GalleryRows, events: I64, /) -> _Page: ...
    def thoughts(self, events: I64, /) -> Thoughts: ...


def recall(people: People, store: Decided, model_digest: str) -> None:
    """Fill an empty memory with everything that was decided."""
    events: list[I64] = []  # of each page
    if gc.get_freeze_count():  # a memory that is read anew must not leave the former one behind
        gc.unfreeze()
        gc.collect()
    with _uncollected():
        people.expect(store.most_vectors(model_digest))
        people.recall(
            _pages(store, model_digest, events), lambda places: store.thoughts(np.concatenate(events)[places])
        )
        if people.tracklets >= _MANY:  # nor is it worth looking through them later
            gc.freeze()


def _pages(store: Decided, model_digest: str, events: list[I64]) -> Iterator[GalleryRows]:
    """Pages with vectors of one model, in the order of decisions."""

    def after(before: Future[_Page]) -> _Page:
        _, told = before.result()
        return store.decisions(int(told[-1]), _PAGE_ROWS) if len(told) else before.result()

    def with_vectors(told: Future[_Page]) -> _Page:
        return store.with_vectors(model_digest, *told.result())

    # Each task only waits for one that was begun before it, so two threads never wait for each other.
    with ThreadPoolExecutor(2, thread_name_prefix="recall") as readers:
        told = readers.submit(store.decisions, 0, _PAGE_ROWS)
        coming = deque([(told, readers.submit(with_vectors, told))])
        while True:
            while len(coming) <= _AHEAD:
                told = readers.submit(after, told)
                coming.append((told, readers.submit(with_vectors, told)))
            decided, page = coming.popleft()
            rows, own = page.result()
            if not decided.result()[0].tracklet_ids:
                return
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
