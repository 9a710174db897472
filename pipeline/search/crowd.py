"""The identities of an index: whose each row is, and what each looks like on the whole; kept up row by row.

A scan of every tracklet is bound by memory: a million vectors of 256 are a gigabyte for each question. The sums of the
vectors of each identity are a tenth of that, and one matrix product compares them with many questions. Whoever is among
the best by the mean of all tracklets is then judged exactly, by the better half of those inside the filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pipeline.contracts import F16, F32, F64, I64
from pipeline.search.query import Ask, Rows, inside

# Identities that are judged exactly. Of no more than these the answer is exact; of many it is compared with that of all
# rows by `tests/bench/bench_query.py`.
SHORT_LIST = 256
_LONG = 1000  # tracklets of one identity; to go through all rows is then faster than from one of hers to the next


class Means(Protocol):
    """Mean vectors by place, for products: of `SearchModel`'s maker, such as `HalfMeans`; without any, the sums."""

    def put(self, places: I64, means: F32) -> None: ...

    def keep(self, places: I64) -> None:
        """Only these stay, and are numbered anew from 0."""

    def products(self, terms: F32, people: int) -> F32:
        """(T, D) → (T, P), roughly, with the first `people`."""


class Crowd:
    """Not safe for many threads: the index guards it."""

    def __init__(self, means: Means | None = None) -> None:
        self._means = means
        self._places: dict[int, int] = {}  # by identity
        self._sums: F32 = np.zeros((0, 0), np.float32)
        self._counts: I64 = np.zeros(0, np.int64)
        self._in_view_s: F64 = np.zeros(0, np.float64)
        # The last row of each place, and the row of the same identity before each row; -1 for none. Lists would be
        # millions of objects, and each full garbage collection would stop everybody to look at all of them.
        self._last: I64 = np.zeros(0, np.int64)
        self._before: I64 = np.zeros(0, np.int64)

    def add(self, first_row: int, global_ids: I64, vectors: F16 | F32, in_view_s: F64) -> I64:
        """Rows from `first_row` on join their identities; returns the place of each one's owner."""
        if len(global_ids) == 0:
            return np.zeros(0, np.int64)
        owners = np.array([self._place(int(global_id)) for global_id in global_ids], np.int64)
        rows = np.arange(first_row, first_row + len(owners))
        self._make_room(vectors.shape[1], first_row + len(owners))
        np.add.at(self._sums, owners, vectors)
        np.add.at(self._counts, owners, 1)
        np.add.at(self._in_view_s, owners, in_view_s)
        self._link(rows, owners)
        self._tell(np.unique(owners))
        return owners

    def move(self, row: int, owner: int, global_id: int, vector: F32, in_view_s: float) -> int:
        """A row goes from the identity at place `owner` to another one, whose place is returned."""
        new_owner = self._place(global_id)
        if new_owner == owner:
            return owner
        self._make_room(len(vector), row + 1)
        for place, sign in ((owner, -1), (new_owner, 1)):
            self._sums[place] += sign * vector
            self._counts[place] += sign
            self._in_view_s[place] += sign * in_view_s
        self._unlink(row, owner)
        self._link(np.array([row]), np.array([new_owner]))
        self._tell(np.array([owner, new_owner]))
        return new_owner

    def keep(self, rows: I64, owners: I64, vectors: F16, in_view_s: F64) -> I64:
        """Only `rows` (N,), ascending, stay, and are numbered anew from 0; returns the new places of their owners.

        `owners` are those of all rows up to now, `vectors` and `in_view_s` what stays. Whoever has lost a row is summed
        anew, so that nothing of it is left in the sum; who has lost all is gone.
        """
        people, had = len(self._places), self._counts[: len(self._places)]
        counts = np.bincount(owners[rows], minlength=people)
        living = np.flatnonzero(counts)
        place_of = np.full(people, -1, np.int64)
        place_of[living] = np.arange(len(living))
        found: I64 = place_of[owners[rows]]
        has_lost = (counts < had)[living]
        self._places = {number: int(place) for number, old in self._places.items() if (place := place_of[old]) >= 0}
        self._sums, self._in_view_s = self._sums[living], self._in_view_s[living]
        self._counts = counts[living]
        self._sums[has_lost], self._in_view_s[has_lost] = 0.0, 0.0
        again = np.flatnonzero(has_lost[found])
        np.add.at(self._sums, found[again], vectors[again])
        np.add.at(self._in_view_s, found[again], in_view_s[again])
        self._last, self._before = np.full(len(living), -1), np.full(len(rows), -1)
        self._link(np.arange(len(rows)), found)
        if self._means is not None:
            self._means.keep(living)
        self._tell(np.flatnonzero(has_lost))
        return found

    def near(self, asks: Sequence[Ask], rows: Rows, owners: I64) -> list[tuple[I64, int]]:
        """For each question the rows to judge exactly, and how many identities the filters leave in all."""
        if not self._places:
            return [(np.zeros(0, np.int64), 0) for _ in asks]
        means = self._products(np.concatenate([np.concatenate([ask.present[None], ask.absent]) for ask in asks]))
        found, first = [], 0
        for ask in asks:
            last = first + 1 + len(ask.absent)
            found.append(self._chosen(ask, means[first:last], rows, owners))
            first = last
        return found

    def _products(self, terms: F32) -> F32:
        """(T, P) of all terms with what each identity looks like on the whole."""
        people = len(self._places)
        if self._means is not None:
            return self._means.products(terms, people)
        # The many rows first: the other way round BLAS takes almost twice as long.
        products: F32 = self._sums[:people] @ terms.T
        share = (1.0 / np.maximum(self._counts[:people], 1)).astype(np.float32)
        scaled: F32 = np.multiply(products.T, share, out=np.empty((len(terms), people), np.float32))
        return scaled

    def _chosen(self, ask: Ask, means: F32, rows: Rows, owners: I64) -> tuple[I64, int]:
        filters, people = ask.filters, len(self._places)
        narrows = bool(filters.camera_ids) or filters.since_at is not None or filters.until_at is not None
        is_living, in_view_s, inside_rows = self._counts[:people] > 0, self._in_view_s[:people], None
        if narrows:
            inside_rows = inside(rows, filters)
            is_living = np.bincount(owners[inside_rows], minlength=people) > 0
            stays = rows.ended_at[inside_rows] - rows.started_at[inside_rows]
            in_view_s = np.bincount(owners[inside_rows], stays, people).astype(np.float64)
        living = np.flatnonzero(is_living & (in_view_s >= filters.shortest_s))
        listed = living
        if len(living) > SHORT_LIST:
            told = means if len(living) == people else means[:, living]
            # Where nothing is denied, who is more similar fits better.
            fits = ask.judge.fits(*_wide(told)) if len(ask.absent) else told[0]
            listed = living[np.argpartition(fits, len(fits) - SHORT_LIST)[-SHORT_LIST:]]
        if inside_rows is None and self._counts[listed].max(initial=0) <= _LONG:
            return self._rows_of(listed), len(living)
        is_listed = np.zeros(people, np.bool_)
        is_listed[listed] = True
        if inside_rows is None:
            return np.flatnonzero(is_listed[owners]), len(living)
        return inside_rows[is_listed[owners[inside_rows]]], len(living)

    def _rows_of(self, places: I64) -> I64:
        """All rows of these places, ascending."""
        found, rows = [np.zeros(0, np.int64)], self._last[places]
        while len(rows := rows[rows >= 0]):
            found.append(rows)
            rows = self._before[rows]
        return np.sort(np.concatenate(found))

    def _link(self, rows: I64, owners: I64) -> None:
        """Rows become the last ones of their owners, in their order."""
        if not len(rows):
            return
        order = np.argsort(owners, kind="stable")
        rows, owners = rows[order], owners[order]
        is_other = owners[1:] != owners[:-1]
        is_first, is_last = np.append(True, is_other), np.append(is_other, True)
        self._before[rows] = np.where(is_first, self._last[owners], np.roll(rows, 1))
        self._last[owners[is_last]] = rows[is_last]

    def _unlink(self, row: int, owner: int) -> None:
        after = self._last[owner]
        if after == row:
            self._last[owner] = self._before[row]
            return
        while self._before[after] != row:
            after = self._before[after]
        self._before[after] = self._before[row]

    def _tell(self, places: I64) -> None:
        if self._means is not None and len(places):
            counts = np.maximum(self._counts[places], 1).astype(np.float32)
            self._means.put(places, self._sums[places] / counts[:, None])

    def _place(self, global_id: int) -> int:
        return self._places.setdefault(global_id, len(self._places))

    def _make_room(self, dimension: int, rows: int) -> None:
        if rows > len(self._before):
            self._before = _grown(self._before, max(rows, 2 * len(self._before)))
        people, capacity = len(self._places), len(self._sums)
        if people <= capacity:
            return
        grown = max(people, 2 * capacity, 256)
        sums = np.zeros((grown, dimension), np.float32)
        counts, in_view_s = np.zeros(grown, np.int64), np.zeros(grown, np.float64)
        if capacity:
            sums[:capacity], counts[:capacity], in_view_s[:capacity] = self._sums, self._counts, self._in_view_s
        self._sums, self._counts, self._in_view_s = sums, counts, in_view_s
        self._last = _grown(self._last, grown)


def _wide(told: F32) -> tuple[F64, F64]:
    """(1 + A, P) → what a judge takes: (P,) similarities, and (P, A) of the things."""
    wide = told.astype(np.float64)
    return wide[0], wide[1:].T


def _grown(column: I64, length: int) -> I64:
    grown = np.full(length, -1, np.int64)
    grown[: len(column)] = column
    return grown
