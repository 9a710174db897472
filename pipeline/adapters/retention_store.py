"""How long everything is kept, in the database: marks that only grow, and the removal of what lies before them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, delete, exists, func, select, update

from pipeline.adapters.calibration_store import CalibrationStore
from pipeline.adapters.counters import locked
from pipeline.adapters.database import in_parts
from pipeline.adapters.schema import cameras, crops, doomed_blobs, embeddings, retention_marks, tracklets
from pipeline.adapters.scrubbing import doom_crops, forget_tracklets, forget_vectors
from pipeline.contracts import BlobKey, CameraId, TrackletId
from pipeline.forgetting import Cutoffs, Kind, Oldest

_ALWAYS = -math.inf
_IS_THERE = {
    Kind.VECTORS: exists().where(embeddings.c.tracklet_id == tracklets.c.tracklet_id),
    Kind.CROPS: exists().where(crops.c.tracklet_id == tracklets.c.tracklet_id),
    Kind.EVENTS: tracklets.c.tracklet_id.is_not(None),
}
# Asked with every question, hence built once.
_MARKS_OF_KIND = select(retention_marks.c.camera_id, retention_marks.c.kept_from).where(
    retention_marks.c.kind == bindparam("kind")
)


class RetentionStore(CalibrationStore):
    """A mark is written first and obeyed by every reader from then on; what lies before it is removed in small parts,
    by one process at a time."""

    def seen_cameras(self) -> list[CameraId]:
        """Every camera that something is kept of, by name."""
        with self._database.reading() as connection:
            found = set(connection.execute(select(cameras.c.camera_id)).scalars())
            # From one to the next along the index: to ask for all that differ would walk over every tracklet.
            following = select(func.min(tracklets.c.camera_id))
            name = connection.execute(following).scalar_one()
            while name is not None:
                found.add(name)
                name = connection.execute(following.where(tracklets.c.camera_id > name)).scalar_one()
        return sorted(CameraId(name) for name in found)

    def vectors_kept_from(self) -> dict[CameraId, float]:
        """From when on the vectors of each camera are given out; a camera without a mark is not named."""
        with self._database.reading() as connection:
            return _kept_from(connection, Kind.VECTORS)

    def advance_marks(self, camera_id: CameraId, wanted: Cutoffs) -> bool:
        """Keep nothing of a camera that began before. A mark never goes back, and that of vectors is never behind that
        of crops, nor this one behind that of events. Returns whether any has moved."""
        with self._database.reading() as connection:
            if not _moved(connection, camera_id, wanted):
                return False
        with self._database.writing() as connection:
            # Waits for those who are writing tracklets by the former marks.
            locked(connection, "erasure")
            moved = _moved(connection, camera_id, wanted)
            for kind, mark in moved.items():
                key = {"camera_id": camera_id, "kind": kind.value}
                self._database.insert_new(
                    connection, retention_marks, [{**key, "kept_from": mark, "cleaned_to": _ALWAYS}]
                )
                connection.execute(update(retention_marks).where(_is_mark(camera_id, kind)).values(kept_from=mark))
        return bool(moved)

    def clean(self, camera_id: CameraId, kind: Kind, limit: int) -> int:
        """Remove the next `limit` tracklets' share of a kind that is kept no more; returns how many there were, 0 at
        the end."""
        with self._database.writing() as connection:
            # In the order of the matcher's own commits, so that neither waits for the other.
            locked(connection, "event_id")
            locked(connection, "erasure")
            mark = connection.execute(_marks_of(camera_id).where(retention_marks.c.kind == kind.value)).one_or_none()
            if mark is None or mark.cleaned_to >= mark.kept_from:
                return 0
            began = tracklets.c.started_at
            of_camera = and_(tracklets.c.camera_id == camera_id, began >= mark.cleaned_to, began < mark.kept_from)
            query = select(tracklets.c.tracklet_id, began).where(of_camera).order_by(began).limit(limit)
            page = connection.execute(query).all()
            up_to = mark.kept_from
            if len(page) == limit:
                # All that began in the same moment go together: the next part begins after it.
                up_to = math.nextafter(page[-1].started_at, math.inf)
                page = connection.execute(select(tracklets.c.tracklet_id).where(of_camera, began < up_to)).all()
            names = [TrackletId(row.tracklet_id) for row in page]
            if kind is Kind.VECTORS:
                forget_vectors(connection, names)
            elif kind is Kind.CROPS:
                doom_crops(connection, self._database, names)
            else:
                forget_tracklets(connection, self._database, names)
            connection.execute(update(retention_marks).where(_is_mark(camera_id, kind)).values(cleaned_to=up_to))
        return len(names)

    def oldest(self, camera_ids: Sequence[CameraId]) -> list[Oldest]:
        """What is kept the longest, of each camera and kind."""
        with self._database.reading() as connection:
            return [self._oldest(connection, camera_id, kind) for camera_id in camera_ids for kind in Kind]

    def doomed_blobs(self, limit: int, erasure: int | None = None) -> list[BlobKey]:
        """Blobs that no row names any more: those of an erasure, or those that were kept long enough. One that is named
        again, because two tracklets have the same picture, is let off."""
        is_meant = doomed_blobs.c.erasure.is_(None) if erasure is None else doomed_blobs.c.erasure == erasure
        with self._database.writing() as connection:
            keys = connection.execute(select(doomed_blobs.c.blob_key).where(is_meant).limit(limit)).scalars().all()
            named: set[str] = set()
            for part in in_parts(keys):
                named |= set(connection.execute(select(crops.c.blob_key).where(crops.c.blob_key.in_(part))).scalars())
            _let_off(connection, sorted(named))
        return [BlobKey(key) for key in keys if key not in named]

    def crop_keys(self, after: BlobKey, limit: int) -> list[BlobKey]:
        """Blobs that some row names, in their order."""
        query = select(crops.c.blob_key).where(crops.c.blob_key > after).distinct().order_by(crops.c.blob_key)
        with self._database.reading() as connection:
            return [BlobKey(key) for key in connection.execute(query.limit(limit)).scalars()]

    def doom_blobs(self, keys: Sequence[BlobKey], erasure: int | None = None) -> None:
        """Have these blobs removed, but for those that some row names."""
        with self._database.writing() as connection:
            rows = [{"blob_key": key, "erasure": erasure} for key in dict.fromkeys(keys)]
            self._database.insert_new(connection, doomed_blobs, rows)

    def blobs_are_gone(self, keys: Sequence[BlobKey]) -> None:
        """The medium has let go of them."""
        with self._database.writing() as connection:
            _let_off(connection, keys)

    def _oldest(self, connection: Connection, camera_id: CameraId, kind: Kind) -> Oldest:
        mark = connection.execute(_marks_of(camera_id).where(retention_marks.c.kind == kind.value)).one_or_none()
        of_camera = tracklets.c.camera_id == camera_id
        if mark is not None:
            of_camera &= tracklets.c.started_at >= mark.cleaned_to
        query = select(tracklets.c.started_at).where(of_camera, _IS_THERE[kind]).order_by(tracklets.c.started_at)
        began_at = connection.execute(query.limit(1)).scalar_one_or_none()
        return Oldest(camera_id, kind, None if mark is None else mark.kept_from, began_at)


def is_past(connection: Connection, begun: Sequence[tuple[str, float]], kind: Kind) -> list[bool]:
    """Whether each beginning (camera, UTC seconds) lies before the mark of a kind."""
    marks = _kept_from(connection, kind)
    return [began_at < marks.get(CameraId(camera_id), _ALWAYS) for camera_id, began_at in begun]


def _kept_from(connection: Connection, kind: Kind) -> dict[CameraId, float]:
    found = connection.execute(_MARKS_OF_KIND, {"kind": kind.value})
    return {CameraId(name): kept_from for name, kept_from in found}


def _moved(connection: Connection, camera_id: CameraId, wanted: Cutoffs) -> dict[Kind, float]:
    """The marks that lie before what is wanted, and what they become."""
    known = {row.kind: row.kept_from for row in connection.execute(_marks_of(camera_id))}
    marks, later = {}, _ALWAYS
    for kind in reversed(Kind):
        marks[kind] = later = max(later, wanted.get(kind, _ALWAYS), known.get(kind.value, _ALWAYS))
    return {kind: mark for kind, mark in marks.items() if mark > known.get(kind.value, _ALWAYS)}


def _marks_of(camera_id: CameraId) -> Select[Any]:
    return select(retention_marks).where(retention_marks.c.camera_id == camera_id)


def _is_mark(camera_id: CameraId, kind: Kind) -> ColumnElement[bool]:
    return (retention_marks.c.camera_id == camera_id) & (retention_marks.c.kind == kind.value)


def _let_off(connection: Connection, keys: Sequence[str]) -> None:
    for part in in_parts(keys):
        connection.execute(delete(doomed_blobs).where(doomed_blobs.c.blob_key.in_(part)))
