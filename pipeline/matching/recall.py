"""The matcher's memory, read back from the database: one page is read while the one before it is taken in."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from pipeline.interfaces import GalleryRows

_PAGE_ROWS = 16_384


class Decided(Protocol):
    """What is asked of the `Store`, from a thread of its own."""

    def decided(self, model_digest: str, after_event: int, limit: int, /) -> tuple[GalleryRows, int]: ...


def everything_decided(store: Decided, model_digest: str) -> Iterator[GalleryRows]:
    """Pages with vectors of one model, in the order of decisions."""
    with ThreadPoolExecutor(1, thread_name_prefix="recall") as reader:
        coming = reader.submit(store.decided, model_digest, 0, _PAGE_ROWS)
        while True:
            rows, position = coming.result()
            if not rows.tracklet_ids:
                return
            coming = reader.submit(store.decided, model_digest, position, _PAGE_ROWS)
            yield rows
