"""The identities of an index: whose each row is, and what each looks like on the whole; kept up row by row.

A scan of every tracklet is bound by memory: a million vectors of 256 are a gigabyte for each question. The sums of the
vectors of each identity are a tenth of that, and one matrix product compares them with many questions. Whoever is among
the best by the mean of all tracklets is then judged exactly, by the better half of those inside the filters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

from pipeline.contracts import F16, F32, F64, I64
from pipeline.search.query import Ask, Rows, inside

# Identities that are judged exactly. Of no more than these the answer is exact; of many it is compared with that of all
# rows by `tests/bench/bench_query.py`.
SHORT_LIST = 256


class Crowd:
    """Not safe for many threads: the index guards it."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}  # by identity
        self._rows: list[list[int]] = []  # by place
        self._sums: F32 = np.zeros((0, 0), np.float32)
        self._counts: I64 = np.zeros(0, np.int64)
        self._in_view_s: F64 = np.zeros(0, np.float64)

    def add(self, first_row: int, global_ids: I64, vectors: F16 | F32, in_view_s: F64) -> I64:
        """Rows from `first_row` on join their identities; returns the place of each one's owner."""
        if len(global_ids) == 0:
            return np.zeros(0, np.int64)
        owners = np.array([self._place(int(global_id)) for global_id in global_ids], np.int64)
        self._make_room(vectors.shape[1])
        np.add.at(self._sums, owners, vectors)
        np.add.at(self._counts, owners, 1)
        np.add.at(self._in_view_s, owners, in_view_s)
        for offset, owner in enumerate(owners.tolist()):
            self._rows[owner].append(first_row + offset)
        return owners

    def move(self, row: int, owner: int, global_id: int, vector: F32, in_view_s: float) -> int:
        """A row goes from the identity at place `owner` to another one, whose place is returned."""
        new_owner = self._place(global_id)
        if new_owner == owner:
            return owner
        self._make_room(len(vector))
        for place, sign in ((owner, -1), (new_owner, 1)):
            self._sums[place] += sign * vector
            self._counts[place] += sign
            self._in_view_s[place] += sign * in_view_s
        self._rows[owner].remove(row)
        self._rows[new_owner].append(row)
        return new_owner

    def keep(self, rows: I64, owners: I64, vectors: F16, in_view_s: F64) -> I64:
        """Only `rows` (N,), ascending, stay, and are numbered anew from 0; returns the new places of their owners.

        `owners` are those of all rows up to now, `vectors` and `in_view_s` what stays. Whoever has lost a row is summed
        anew, so that nothing of it is left in the sum; who has lost all is gone.
        """
        people, had = len(self._rows), self._counts[: len(self._rows)]
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
        numbers, ends = np.argsort(found, kind="stable").tolist(), np.cumsum(self._counts)
        begins = (ends - self._counts).tolist()
        self._rows = [numbers[begin:end] for begin, end in zip(begins, ends.tolist(), strict=True)]
        return found

    def near(self, asks: Sequence[Ask], rows: Rows, owners: I64) -> list[tuple[I64, int]]:
        """For each question the rows to judge exactly, and how many identities the filters leave in all."""
        people = len(self._rows)
        if people == 0:
            return [(np.zeros(0, np.int64), 0) for _ in asks]
        terms = np.concatenate([np.concatenate([ask.present[None], ask.absent]) for ask in asks])
        means: F32 = terms @ self._sums[:people].T  # (all terms, P)
        means *= (1.0 / np.maximum(self._counts[:people], 1)).astype(np.float32)
        found, first = [], 0
        for ask in asks:
            last = first + 1 + len(ask.absent)
            found.append(self._chosen(ask, means[first:last], rows, owners))
            first = last
        return found

    def _chosen(self, ask: Ask, means: F32, rows: Rows, owners: I64) -> tuple[I64, int]:
        filters, people = ask.filters, len(self._rows)
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
            told = means[:, living].astype(np.float64)
            fits = ask.judge.fits(told[0], told[1:].T)
            listed = living[np.argpartition(-fits, SHORT_LIST)[:SHORT_LIST]]
        if inside_rows is None:
            return _numbers(self._rows[place] for place in listed.tolist()), len(living)
        is_listed = np.zeros(people, np.bool_)
        is_listed[listed] = True
        return inside_rows[is_listed[owners[inside_rows]]], len(living)

    def _place(self, global_id: int) -> int:
        place = self._places.setdefault(global_id, len(self._rows))
        if place == len(self._rows):
            self._rows.append([])
        return place

    def _make_room(self, dimension: int) -> None:
        people, capacity = len(self._rows), len(self._sums)
        if people <= capacity:
            return
        grown = max(people, 2 * capacity, 256)
        sums = np.zeros((grown, dimension), np.float32)
        counts, in_view_s = np.zeros(grown, np.int64), np.zeros(grown, np.float64)
        if capacity:
            sums[:capacity], counts[:capacity], in_view_s[:capacity] = self._sums, self._counts, self._in_view_s
        self._sums, self._counts, self._in_view_s = sums, counts, in_view_s


def _numbers(lists: Iterable[list[int]]) -> I64:
    return np.sort(np.fromiter(chain.from_iterable(lists), np.int64))
