"""Which slots of a book belong to whom, as one table: to read and write those of thousands takes no loop in Python."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np

from pipeline.columns import with_room
from pipeline.contracts import I64, GlobalId


class SlotTable:
    """Slots by identity: at most `limit` of each, in an order of their own."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._places: dict[GlobalId, int] = {}  # rows of the table
        self._free: list[int] = []
        self._slots: I64 = np.zeros((0, limit), np.int64)
        self._counts: I64 = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, global_id: GlobalId) -> bool:
        return global_id in self._places

    def __iter__(self) -> Iterator[GlobalId]:
        """Identities in the order in which they came."""
        return iter(self._places)

    def of(self, global_ids: Iterable[GlobalId]) -> tuple[I64, I64]:
        """The slots of some identities, one after the other; how many each has."""
        return self.at(np.fromiter(map(self._places.__getitem__, global_ids), np.int64))

    def open(self, global_ids: Collection[GlobalId]) -> I64:
        """Their places, with no slots yet for those who are new."""
        known = self._places
        for global_id in [each for each in global_ids if each not in known]:
            if not self._free:
                self._grow()
            known[global_id] = self._free.pop()
        return np.fromiter(map(known.__getitem__, global_ids), np.int64, len(global_ids))

    def at(self, places: I64) -> tuple[I64, I64]:
        """As `of`, by places."""
        counts: I64 = self._counts[places]
        return self._slots[places][np.arange(self._limit) < counts[:, None]], counts

    def give(self, places: I64, slots: I64, counts: I64) -> None:
        """From now on those at the places have these slots instead: the first counts[0] are the first's, and so on."""
        self._counts[places] = counts
        begins = np.cumsum(counts) - counts
        inside = np.arange(len(slots)) - np.repeat(begins, counts)
        self._slots[np.repeat(places, counts), inside] = slots

    def pop(self, global_id: GlobalId) -> I64:
        """Forget an identity; returns its slots."""
        place = self._places.pop(global_id)
        own: I64 = self._slots[place, : self._counts[place]].copy()
        self._counts[place] = 0
        self._free.append(place)
        return own

    def _grow(self) -> None:
        size = len(self._counts)
        extra = max(1024, size)
        self._free = list(range(size + extra - 1, size - 1, -1))
        self._slots = with_room(self._slots, extra)
        self._counts = with_room(self._counts, extra)
