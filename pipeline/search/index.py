"""The vectors of the database in memory, always as fresh as the last `refresh`; a cache, never the truth."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.contracts import F64, I64, CameraId, IdentityEvent, IdentityEventKind, TrackletId
from pipeline.kept import GalleryRows
from pipeline.search.crowd import Crowd, Means
from pipeline.search.query import Ask, Rows
from pipeline.together import Together

_SLAB_ROWS = 4096

Column = TypeVar("Column", I64, F64)


class RowSource(Protocol):
    """The part of `Store` that the index reads."""

    def gallery(self, model_digest: str, vector: str, after_row: int, limit: int) -> tuple[GalleryRows, int]: ...

    def identity_changes(self, after_event_id: int, limit: int) -> list[IdentityEvent]: ...

    def vectors_kept_from(self) -> dict[CameraId, float]: ...


@dataclass(frozen=True, slots=True)
class Near:
    """What is worth judging exactly for one question."""

    rows: Rows
    chosen: I64  # row numbers, inside the filters
    candidates: int  # identities inside the filters, judged or not


class VectorIndex:
    """All vectors of one model digest and one kind; safe to read and refresh from many threads.

    A refresh costs three small queries when nothing is new. Readers get columns that never change under them: new rows
    are written behind the end of what they hold, and a merge, split or erasure replaces the columns.
    """

    def __init__(
        self,
        source: RowSource,
        model_digest: str,
        vector: Literal["appearance", "language"],
        means: Means | None = None,
    ) -> None:
        self._source = source
        self._model_digest = model_digest
        self._vector = vector
        self._lock = threading.Lock()
        self._row = 0
        self._event_id = 0
        self._count = 0
        # As the database holds them: nothing is lost, and a million of 512 take one gigabyte instead of two.
        self._vectors: npt.NDArray[np.float16] = np.zeros((0, 0), np.float16)
        self._global_ids: I64 = np.zeros(0, np.int64)
        self._cameras: I64 = np.zeros(0, np.int64)
        self._started_at: F64 = np.zeros(0, np.float64)
        self._ended_at: F64 = np.zeros(0, np.float64)
        self._tracklet_ids: list[TrackletId] = []
        self._places: dict[TrackletId, int] = {}
        self._crowd = Crowd(means)
        self._owners: I64 = np.zeros(0, np.int64)
        self._follow: Together[None, Rows] = Together(self._follow_once)
        self._camera_codes: dict[CameraId, int] = {}
        self._kept_from: dict[CameraId, float] = {}

    def refresh(self) -> Rows:
        """Follow the database and return the rows. Raises `Unavailable` while it does not answer."""
        return self._follow(None)

    def cameras(self) -> list[CameraId]:
        """Cameras of the rows that were read up to now; the database is asked only before the first are."""
        with self._lock:
            if self._row == 0:
                self._refreshed()
            return list(self._camera_codes)

    def near(self, ask: Ask) -> Near:
        """What is worth judging for one question."""
        (found,) = self.near_all([ask])
        return found

    def near_all(self, asks: Sequence[Ask]) -> list[Near]:
        """What is worth judging for each question, with the database followed once for all."""
        with self._lock:
            rows = self._refreshed()
            found = self._crowd.near(asks, rows, self._owners[: len(rows)])
        return [Near(rows, chosen, candidates) for chosen, candidates in found]

    def _follow_once(self, waiting: Sequence[None]) -> list[Rows]:
        with self._lock:
            return [self._refreshed()] * len(waiting)

    def _refreshed(self) -> Rows:
        if self._row == 0:
            self._pass_over_changes()
        # Rows before changes: a row read after its change is already right, and the change repeats harmlessly.
        while self._read_slab():
            pass
        while self._read_changes():
            pass
        self._drop_outlived()
        return self._rows()

    def _rows(self) -> Rows:
        count = self._count
        return Rows(
            vectors=self._vectors[:count],
            global_ids=self._global_ids[:count],
            cameras=self._cameras[:count],
            started_at=self._started_at[:count],
            ended_at=self._ended_at[:count],
            tracklet_ids=self._tracklet_ids,
            camera_ids=tuple(self._camera_codes),
        )

    def _read_slab(self) -> bool:
        slab, self._row = self._source.gallery(self._model_digest, self._vector, self._row, _SLAB_ROWS)
        added = len(slab.tracklet_ids)
        if added == 0:
            return False
        self._make_room(added, slab.vectors.shape[1])
        start, end = self._count, self._count + added
        self._vectors[start:end] = slab.vectors
        self._global_ids[start:end] = slab.global_ids
        self._cameras[start:end] = [
            self._camera_codes.setdefault(camera, len(self._camera_codes)) for camera in slab.camera_ids
        ]
        self._started_at[start:end] = slab.started_at
        self._ended_at[start:end] = slab.ended_at
        self._owners[start:end] = self._crowd.add(start, slab.global_ids, slab.vectors, slab.ended_at - slab.started_at)
        self._tracklet_ids.extend(slab.tracklet_ids)
        self._places.update((tracklet, start + place) for place, tracklet in enumerate(slab.tracklet_ids))
        self._count = end
        return True

    def _make_room(self, added: int, dimension: int) -> None:
        capacity = len(self._global_ids)
        if self._count + added <= capacity:
            return
        larger = max(2 * capacity, self._count + added, 1024)
        keep = slice(0, self._count)
        vectors = np.empty((larger, dimension), np.float16)
        if self._count:
            vectors[keep] = self._vectors[keep]
        self._vectors = vectors
        self._global_ids = _grown(self._global_ids, larger)
        self._owners = _grown(self._owners, larger)
        self._cameras = _grown(self._cameras, larger)
        self._started_at = _grown(self._started_at, larger)
        self._ended_at = _grown(self._ended_at, larger)

    def _pass_over_changes(self) -> None:
        """What changed before the first row is read is in the rows already."""
        while changes := self._source.identity_changes(self._event_id, _SLAB_ROWS):
            self._event_id = changes[-1].event_id

    def _drop_outlived(self) -> None:
        """Looks that have been kept long enough. The database gives them out no more, so they must go here as well."""
        kept_from = self._source.vectors_kept_from()
        if kept_from != self._kept_from:
            marks = np.full(len(self._camera_codes), -np.inf)
            for camera_id, code in self._camera_codes.items():
                marks[code] = kept_from.get(camera_id, -np.inf)
            count = self._count
            self._drop(np.flatnonzero(self._started_at[:count] < marks[self._cameras[:count]]).tolist())
            self._kept_from = kept_from

    def _read_changes(self) -> bool:
        changes = self._source.identity_changes(self._event_id, _SLAB_ROWS)
        moved = self._global_ids.copy() if changes else self._global_ids
        for change in changes:
            if change.kind is IdentityEventKind.ERASED and not change.tracklet_ids:
                # Followed too late: whoever held something has had the time to let go of it, and the names are gone.
                return self._begin_anew(change.event_id)
            places = [self._places[t] for name in change.tracklet_ids if (t := TrackletId(name)) in self._places]
            if change.kind is IdentityEventKind.ERASED:
                self._global_ids = moved
                self._drop(places)
                moved = self._global_ids
            else:
                moved[places] = change.global_id
                self._move(places, change.global_id)
            self._event_id = change.event_id
        self._global_ids = moved
        return bool(changes)

    def _move(self, places: list[int], global_id: int) -> None:
        for row in places:
            in_view_s = float(self._ended_at[row] - self._started_at[row])
            self._owners[row] = self._crowd.move(
                row, int(self._owners[row]), global_id, self._vectors[row].astype(np.float32), in_view_s
            )

    def _begin_anew(self, event_id: int) -> bool:
        self._drop(list(range(self._count)))
        self._row, self._event_id = 0, event_id
        while self._read_slab():
            pass
        return True

    def _drop(self, places: list[int]) -> None:
        if not places:
            return
        kept = np.setdiff1d(np.arange(self._count), places)
        owners = self._owners[: self._count]
        # Indexing copies, so the vectors of the erased person are in no array that this index still holds.
        self._vectors = self._vectors[kept]
        self._global_ids = self._global_ids[kept]
        self._cameras = self._cameras[kept]
        self._started_at = self._started_at[kept]
        self._ended_at = self._ended_at[kept]
        self._tracklet_ids = [self._tracklet_ids[place] for place in kept]
        self._places = {tracklet: place for place, tracklet in enumerate(self._tracklet_ids)}
        self._count = len(kept)
        self._owners = self._crowd.keep(kept, owners, self._vectors, self._ended_at - self._started_at)


def _grown(column: Column, length: int) -> Column:
    grown = np.empty(length, column.dtype)
    grown[: len(column)] = column
    return grown
