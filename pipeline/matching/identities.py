"""The people who are known, as columns: what each looks like, and where and when each was seen last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.columns import with_room
from pipeline.contracts import F32, F64, I64, GlobalId
from pipeline.matching.calibration import Calibration
from pipeline.matching.camera_numbers import CameraNumbers
from pipeline.matching.evidence import Candidates


class IdentityBook:
    """Identities by number. Cameras are numbered as they were first seen, those of the calibration before others."""

    def __init__(self, dimension: int, cameras: int) -> None:
        """Vectors have `dimension` numbers; exemplars are counted for so many cameras."""
        self._columns: dict[int, int] = {}
        self._free: list[int] = []
        self._looks: F32 = np.zeros((0, dimension), np.float32)
        self._seen_at: F64 = np.zeros(0)
        self._exemplars: I64 = np.zeros((0, cameras), np.int64)
        self._cameras: I64 = np.zeros(0, np.int64)  # of the last sighting
        self._camera_numbers = CameraNumbers()
        self._global_ids: I64 = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._columns)

    def __contains__(self, global_id: GlobalId | None) -> bool:
        return global_id in self._columns

    def see(self, global_ids: I64, camera_ids: Sequence[str], ended_at: F64) -> None:
        """Sightings (N,) of identities, which may be new. The latest is the last; of equals the greater name's."""
        numbers, whose = np.unique(global_ids, return_inverse=True)
        self._open([number for number in numbers.tolist() if number not in self._columns])
        columns, cameras = self._at(numbers), self._camera_numbers.of(camera_ids)
        ranks = self._camera_numbers.ranks()
        order = np.lexsort((ranks[cameras], ended_at, whose))
        last = order[np.cumsum(np.bincount(whose, minlength=len(numbers))) - 1]
        before, after = self._seen_at[columns], ended_at[last]
        is_tie = (after == before) & (ranks[cameras[last]] >= ranks[self._cameras[columns]])
        moved = (after > before) | is_tie
        self._seen_at[columns[moved]], self._cameras[columns[moved]] = after[moved], cameras[last[moved]]

    def describe(self, global_ids: I64, looks: F32, exemplars: I64) -> None:
        """Mean looks (N, D) over so many exemplars of each camera of the calibration (N, A + 1)."""
        columns = self._at(global_ids)
        self._looks[columns] = looks
        self._exemplars[columns] = exemplars

    def widen(self, cameras: int) -> None:
        """Another calibration counts exemplars of so many cameras."""
        self._exemplars = np.zeros((len(self._looks), cameras), np.int64)

    def forget(self, global_id: GlobalId) -> None:
        column = self._columns.pop(global_id)
        self._seen_at[column], self._looks[column] = -np.inf, 0.0
        self._global_ids[column] = 0
        self._free.append(column)

    def looks(self, global_ids: I64) -> F32:
        """(N, D) mean looks, shorter than unit length the less the exemplars are alike."""
        return self._looks[self._at(global_ids)]

    def exemplars(self, global_ids: I64) -> I64:
        """(N, A + 1) how many of each camera of the calibration."""
        return self._exemplars[self._at(global_ids)]

    def last_seen(self, global_id: GlobalId) -> tuple[float, str]:
        """When and where."""
        column = self._columns[global_id]
        return float(self._seen_at[column]), self._camera_numbers.names[self._cameras[column]]

    def newest(self, count: int) -> I64:
        """Up to `count` identities, those seen last; of equals the greater numbers."""
        if len(self) <= count:
            return np.array(list(self._columns), np.int64)
        oldest = np.partition(self._seen_at, -count)[-count]
        newer = self._global_ids[self._seen_at > oldest]
        equals = np.sort(self._global_ids[self._seen_at == oldest])
        return np.concatenate([newer, equals[len(newer) - count :]])

    def beyond(self, limit: int) -> I64:
        """The identities seen the longest ago, so many as there are beyond `limit`."""
        over = len(self) - limit
        if over <= 0:
            return np.zeros(0, np.int64)
        numbers = np.array(list(self._columns), np.int64)
        order = np.lexsort((numbers, self._seen_at[self._at(numbers)]))
        return numbers[order[:over]]

    def candidates(self, global_ids: I64, similarities: F64, calibration: Calibration) -> Candidates:
        """Identities as columns of a decision."""
        columns, names = self._at(global_ids), self._camera_numbers.names
        places = np.array([calibration.place(camera_id) for camera_id in names], np.int64)
        cameras = self._cameras[columns]
        return Candidates(
            global_ids=global_ids,
            camera_ids=[names[camera] for camera in cameras.tolist()],
            places=places[cameras],
            seen_at=self._seen_at[columns],
            exemplars=self._exemplars[columns],
            similarities=similarities,
            known=len(self),
        )

    def _at(self, global_ids: I64) -> I64:
        return np.fromiter(map(self._columns.__getitem__, global_ids.tolist()), np.int64, len(global_ids))

    def _open(self, global_ids: list[int]) -> None:
        while len(self._free) < len(global_ids):
            self._grow()
        columns = [self._free.pop() for _ in global_ids]
        self._columns |= zip(global_ids, columns, strict=True)
        self._global_ids[columns], self._seen_at[columns] = global_ids, -np.inf

    def _grow(self) -> None:
        size, extra = len(self._looks), max(1024, len(self._looks))
        self._free = [*range(size + extra - 1, size - 1, -1), *self._free]
        self._looks = with_room(self._looks, extra)
        self._exemplars = with_room(self._exemplars, extra)
        self._global_ids = with_room(self._global_ids, extra)
        self._cameras = with_room(self._cameras, extra)
        self._seen_at = np.concatenate([self._seen_at, np.full(extra, -np.inf)])
