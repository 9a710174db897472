"""Vectors of models in the database: what is there, what is missing, and which model serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    tuple_,
    update,
)

from pipeline.adapters.counters import advance, locked
from pipeline.adapters.database import in_parts
from pipeline.adapters.history import History
from pipeline.adapters.schema import crops, embedding_failures, embeddings, model_switches, tracklets
from pipeline.contracts import F32, GlobalId, TrackletCrops, TrackletEmbedding, TrackletId
from pipeline.errors import ConfigurationError, ModelVersionMismatch
from pipeline.interfaces import Coverage, FailedEmbedding, GalleryRows, ModelSwitch, Position

_VECTORS = {"appearance": embeddings.c.appearance, "language": embeddings.c.language}
_SEEN = (
    tracklets.c.tracklet_id,
    tracklets.c.global_id,
    tracklets.c.camera_id,
    tracklets.c.boot_id,
    tracklets.c.track_id,
    tracklets.c.started_at,
    tracklets.c.ended_at,
)
_IS_ARCHIVED = exists().where(crops.c.tracklet_id == tracklets.c.tracklet_id)
_IS_DECIDED = tracklets.c.global_id.is_not(None)


class ModelStore(History):
    """Questions and writes about vectors. A vector is named by its tracklet and the digest of its model."""

    # --- vectors ------------------------------

    def gallery(self, model_digest: str, vector: str, after_row: int, limit: int) -> tuple[GalleryRows, int]:
        """Assigned tracklets after row number `after_row`, and the number to continue from.

        `vector` is `appearance` or `language`; the vectors are float32, as unit as float16 left them.
        """
        if vector not in _VECTORS:
            raise ConfigurationError(f"vector {vector!r} is unknown; expected one of {', '.join(_VECTORS)}")
        query = (
            select(embeddings.c.row, *_SEEN, _VECTORS[vector])
            .join(tracklets, tracklets.c.tracklet_id == embeddings.c.tracklet_id)
            .where(embeddings.c.model_digest == model_digest, embeddings.c.row > after_row, _IS_DECIDED)
            .order_by(embeddings.c.row)
            .limit(limit)
        )
        with self._database.reading() as connection:
            found = connection.execute(query).all()
        return _gallery_rows(found, model_digest), found[-1].row if found else after_row

    def decided(self, model_digest: str, after_event: int, limit: int) -> tuple[GalleryRows, int]:
        """The same with appearance vectors in the order of decisions, whenever the vectors were made.

        `after_event` is the number of the event that gave a tracklet its identity.
        """
        is_its_vector = (embeddings.c.tracklet_id == tracklets.c.tracklet_id) & (
            embeddings.c.model_digest == model_digest
        )
        query = (
            select(tracklets.c.assigned_event, *_SEEN, embeddings.c.appearance)
            # An outer join walks along the decisions; an inner one would sort all vectors of the model for each page.
            .outerjoin(embeddings, is_its_vector)
            .where(_IS_DECIDED)
            .order_by(tracklets.c.assigned_event)
            .limit(limit)
        )
        while True:
            with self._database.reading() as connection:
                page = connection.execute(query.where(tracklets.c.assigned_event > after_event)).all()
            found = [row for row in page if row.appearance is not None]
            after_event = page[-1].assigned_event if page else after_event
            if found or not page:
                return _gallery_rows(found, model_digest), after_event

    def add_vectors(self, seen: Sequence[TrackletEmbedding]) -> list[TrackletEmbedding]:
        """Write vectors without deciding anything, and return those that were new.

        A tracklet that is not known yet is written too, without an identity.
        """
        if not seen:
            return []
        with self._database.writing() as connection:
            self._database.insert_new(connection, tracklets, [tracklet_row(embedding) for embedding in seen])
            return insert_embeddings(connection, seen)

    def undecided(self, model_digest: str, limit: int) -> list[TrackletEmbedding]:
        """Archived tracklets that have a vector of this model but no identity, the earliest first."""
        query = (
            select(tracklets, embeddings.c.quality, embeddings.c.appearance, embeddings.c.language)
            .join(embeddings, embeddings.c.tracklet_id == tracklets.c.tracklet_id)
            .where(tracklets.c.global_id.is_(None), embeddings.c.model_digest == model_digest, _IS_ARCHIVED)
            .order_by(tracklets.c.started_at, tracklets.c.tracklet_id)
            .limit(limit)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
            keys: dict[str, list[str]] = {row.tracklet_id: [] for row in rows}
            for part in in_parts(list(keys)):
                kept = select(crops.c.tracklet_id, crops.c.blob_key).where(crops.c.tracklet_id.in_(part))
                for name, key in connection.execute(kept.order_by(crops.c.tracklet_id, crops.c.rank)):
                    keys[name].append(key)
        return [_embedding(row, model_digest, keys[row.tracklet_id]) for row in rows]

    # --- what is missing ------------------------------

    def missing(
        self, model_digest: str, after: Position, limit: int, undecided_before: float | None = None
    ) -> list[Position]:
        """Archived tracklets that have no vector of this model, by their ends, after a position.

        Those with an identity, and those without one that ended before `undecided_before` (None: none of these).
        Tracklets of which the model gives no vector (`note_failure`) are not missing.
        """
        counted: ColumnElement[bool] = _IS_DECIDED
        if undecided_before is not None:
            counted = or_(_IS_DECIDED, tracklets.c.ended_at < undecided_before)
        place = tuple_(tracklets.c.ended_at, tracklets.c.tracklet_id)
        query = (
            select(tracklets.c.ended_at, tracklets.c.tracklet_id)
            .where(counted, _IS_ARCHIVED, _lacks(embeddings, model_digest), _lacks(embedding_failures, model_digest))
            .where(place > tuple_(after.ended_at, after.tracklet_id))
            .order_by(tracklets.c.ended_at, tracklets.c.tracklet_id)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [Position(ended_at, TrackletId(name)) for ended_at, name in connection.execute(query)]

    def coverage(self, model_digest: str) -> Coverage:
        """How much of the archive has a vector of this model. Looks at every tracklet."""
        has_vector = case((_lacks(embeddings, model_digest), 0), else_=1)
        query = select(func.count(), func.coalesce(func.sum(has_vector), 0)).where(
            _IS_DECIDED, _IS_ARCHIVED, _lacks(embedding_failures, model_digest)
        )
        failed = select(func.count()).where(embedding_failures.c.model_digest == model_digest)
        with self._database.reading() as connection:
            expected, covered = connection.execute(query).one()
            return Coverage(int(covered), int(expected), int(connection.execute(failed).scalar_one()))

    def note_failures(self, failures: Sequence[FailedEmbedding], failed_at: float) -> None:
        """Remember tracklets of which a model gives no vector, so that nobody waits for them."""
        if failures:
            with self._database.writing() as connection:
                rows = [
                    {
                        "tracklet_id": failure.tracklet_id,
                        "model_digest": failure.model_digest,
                        "failed_at": failed_at,
                        "reason": failure.reason[:400],
                    }
                    for failure in failures
                ]
                self._database.insert_new(connection, embedding_failures, rows)

    # --- which model serves ------------------------------

    def model_switches(self, limit: int) -> list[ModelSwitch]:
        """The newest changes of the serving model, newest first; the first of them says which model serves."""
        query = select(model_switches).order_by(model_switches.c.number.desc()).limit(limit)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [ModelSwitch(row.number, row.model_digest, row.switched_at, row.reason) for row in rows]

    def newest_vector_digest(self) -> str | None:
        """The model of the vector that was written last; None for a database without vectors."""
        query = select(embeddings.c.model_digest).order_by(embeddings.c.row.desc()).limit(1)
        with self._database.reading() as connection:
            digest: str | None = connection.execute(query).scalar_one_or_none()
        return digest

    def switch_model(self, model_digest: str, after: int, switched_at: float, reason: str) -> ModelSwitch | None:
        """Let a model serve from now on, if every archived tracklet with an identity has its vector.

        `after` is the number of the last switch known to the caller, 0 for none; the first one needs no vectors.
        Returns None, and changes nothing, while vectors are missing or when somebody else has switched meanwhile.
        """
        # Asked without the right to write first: this looks at the whole archive, and others wait for a writer.
        if after and self._lacks_vectors(model_digest):
            return None
        with self._database.writing() as connection:
            last = connection.execute(select(func.coalesce(func.max(model_switches.c.number), 0))).scalar_one()
            if last != after or (after and _some_missing(connection, model_digest)):
                return None
            switch = ModelSwitch(after + 1, model_digest, switched_at, reason)
            connection.execute(
                model_switches.insert(),
                {
                    "number": switch.number,
                    "model_digest": model_digest,
                    "switched_at": switched_at,
                    "reason": reason[:400],
                },
            )
        return switch

    def _lacks_vectors(self, model_digest: str) -> bool:
        with self._database.reading() as connection:
            return _some_missing(connection, model_digest)


def tracklet_row(seen: TrackletCrops | TrackletEmbedding) -> dict[str, Any]:
    """What the database keeps of a tracklet before its identity is decided."""
    return {
        "tracklet_id": seen.tracklet_id,
        "camera_id": seen.camera_id,
        "boot_id": seen.boot_id,
        "track_id": seen.track_id,
        "sequence": seen.sequence,
        "started_at": seen.started_at,
        "ended_at": seen.ended_at,
        "detections": seen.detections,
    }


def insert_embeddings(connection: Connection, seen: Sequence[TrackletEmbedding]) -> list[TrackletEmbedding]:
    """Write the vectors that are not there yet, and return them."""
    by_key = {(embedding.tracklet_id, embedding.model_digest): embedding for embedding in seen}
    stored: set[tuple[str, str]] = set()
    for part in in_parts([name for name, _ in by_key]):
        query = select(embeddings.c.tracklet_id, embeddings.c.model_digest)
        stored |= {(row[0], row[1]) for row in connection.execute(query.where(embeddings.c.tracklet_id.in_(part)))}
    fresh = [embedding for key, embedding in by_key.items() if key not in stored]
    if not fresh:
        return []
    last = locked(connection, "row")
    rows = [
        {
            "row": last + number,
            "tracklet_id": embedding.tracklet_id,
            "model_digest": embedding.model_digest,
            "quality": embedding.quality,
            "appearance": embedding.appearance,
            "language": embedding.language,
        }
        for number, embedding in enumerate(fresh, start=1)
    ]
    connection.execute(embeddings.insert(), rows)
    advance(connection, "row", last + len(fresh))
    return fresh


def renumber_vectors(connection: Connection, tracklet_ids: Sequence[TrackletId], up_to_row: int) -> None:
    """Give new numbers to vectors that were written before their tracklets had an identity.

    Readers who follow the numbers have passed them over, and find them again so.
    """
    earlier: list[int] = []
    for part in in_parts(tracklet_ids):
        query = select(embeddings.c.row).where(embeddings.c.tracklet_id.in_(part), embeddings.c.row <= up_to_row)
        earlier += connection.execute(query).scalars()
    if earlier:
        last = locked(connection, "row")
        moved = [{"which": row, "number": last + number} for number, row in enumerate(sorted(earlier), start=1)]
        renumber = update(embeddings).where(embeddings.c.row == bindparam("which")).values(row=bindparam("number"))
        connection.execute(renumber, moved)
        advance(connection, "row", last + len(earlier))


def _gallery_rows(found: Sequence[Any], model_digest: str) -> GalleryRows:
    """Rows of a number, `_SEEN` and a vector, as columns."""
    _, names, global_ids, camera_ids, boot_ids, track_ids, started, ended, vectors = (
        zip(*found, strict=True) if found else ((),) * 9
    )
    return GalleryRows(
        tracklet_ids=list(names),
        global_ids=np.array(global_ids, np.int64),
        camera_ids=list(camera_ids),
        boot_ids=list(boot_ids),
        track_ids=np.array(track_ids, np.int64),
        started_at=np.array(started, np.float64),
        ended_at=np.array(ended, np.float64),
        vectors=_matrix(vectors, model_digest),
    )


def _lacks(table: Any, model_digest: str) -> ColumnElement[bool]:
    """Whether a tracklet has no row of this model in `embeddings` or `embedding_failures`."""
    return ~exists().where(table.c.tracklet_id == tracklets.c.tracklet_id, table.c.model_digest == model_digest)


def _some_missing(connection: Connection, model_digest: str) -> bool:
    # The latest first: vectors are made up from the earliest on, so what is missing is found at once.
    query = (
        select(tracklets.c.tracklet_id)
        .where(_IS_DECIDED, _IS_ARCHIVED, _lacks(embeddings, model_digest), _lacks(embedding_failures, model_digest))
        .order_by(tracklets.c.ended_at.desc())
        .limit(1)
    )
    return connection.execute(query).first() is not None


def _embedding(row: Row[Any], model_digest: str, crop_keys: Sequence[str]) -> TrackletEmbedding:
    return TrackletEmbedding(
        camera_id=row.camera_id,
        boot_id=row.boot_id,
        track_id=row.track_id,
        sequence=row.sequence,
        started_at=row.started_at,
        ended_at=row.ended_at,
        detections=row.detections,
        model_digest=model_digest,
        appearance=row.appearance,
        language=row.language,
        quality=row.quality,
        crop_keys=tuple(crop_keys),
    )


def _matrix(vectors: Sequence[bytes], model_digest: str) -> F32:
    """Little-endian float16 bytes of one length → (N, D) float32."""
    lengths = sorted({len(vector) // 2 for vector in vectors})
    if len(lengths) > 1:
        raise ModelVersionMismatch(
            f"model {model_digest} has vectors of {' and '.join(map(str, lengths))} values in the database; "
            "expected one dimension per digest: import the model again, so that it gets a digest of its own"
        )
    return np.frombuffer(b"".join(vectors), "<f2").reshape(len(vectors), -1 if vectors else 0).astype(np.float32)


def assigned(connection: Connection, tracklet_ids: Sequence[TrackletId]) -> dict[TrackletId, GlobalId]:
    """The identity of each tracklet that has one."""
    found: dict[TrackletId, GlobalId] = {}
    for part in in_parts(tracklet_ids):
        query = select(tracklets.c.tracklet_id, tracklets.c.global_id).where(_IS_DECIDED)
        rows = connection.execute(query.where(tracklets.c.tracklet_id.in_(part)))
        found |= {TrackletId(name): GlobalId(global_id) for name, global_id in rows}
    return found
