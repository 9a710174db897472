"""Vectors of models in the database, beside what `ModelChanges` tells of them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import asdict, replace
from operator import itemgetter
from typing import Any

import numpy as np
from sqlalchemy import BindParameter, Connection, Integer, Row, bindparam, func, select, update

from pipeline.adapters.counters import advance, locked
from pipeline.adapters.database import execute_many, in_parts, plain_rows
from pipeline.adapters.gallery_pages import SEEN, decisions, gallery_rows, thoughts, vector_matrix, with_vectors
from pipeline.adapters.model_changes import IS_ARCHIVED, IS_DECIDED, IS_IN_TIME, ModelChanges
from pipeline.adapters.schema import crops, embeddings, tracklets
from pipeline.contracts import I64, GlobalId, TrackletCrops, TrackletEmbedding, TrackletId
from pipeline.errors import ConfigurationError
from pipeline.kept import GalleryRows, Thoughts

_VECTORS = {"appearance": embeddings.c.appearance, "language": embeddings.c.language}
# Built once: to put a statement together takes longer than to run it.
_NAMED: BindParameter[str] = bindparam("names", expanding=True)
_ASSIGNED = select(tracklets.c.tracklet_id, tracklets.c.global_id).where(
    IS_DECIDED, tracklets.c.tracklet_id.in_(_NAMED)
)
_INSERT = embeddings.insert()
_STORED = select(embeddings.c.row, embeddings.c.tracklet_id, embeddings.c.model_digest).where(
    embeddings.c.tracklet_id.in_(_NAMED)
)
_GALLERIES = {
    name: select(embeddings.c.row, *SEEN, vector)
    .join(tracklets, tracklets.c.tracklet_id == embeddings.c.tracklet_id)
    .where(embeddings.c.model_digest == bindparam("digest"), embeddings.c.row > bindparam("after"))
    .where(IS_DECIDED, IS_IN_TIME)
    .order_by(embeddings.c.row)
    .limit(bindparam("most", type_=Integer))
    for name, vector in _VECTORS.items()
}
# An outer join begins with the tracklets of the identities; an inner one of two identities or more would look at all
# vectors of the model, and SQLite makes one of it where it sees that rows without a vector do not count.
_OF_PERSONS = (
    select(tracklets.c.assigned_event, *SEEN, embeddings.c.appearance)
    .outerjoin(
        embeddings,
        (embeddings.c.tracklet_id == tracklets.c.tracklet_id) & (embeddings.c.model_digest == bindparam("digest")),
    )
    .where(tracklets.c.global_id.in_(bindparam("persons", expanding=True)))
    .where(func.coalesce(embeddings.c.row, 0) > 0, IS_IN_TIME)
)
_RENUMBER = update(embeddings).where(embeddings.c.row == bindparam("which")).values(row=bindparam("number"))


class ModelStore(ModelChanges):
    """Questions and writes about vectors. A vector is named by its tracklet and the digest of its model."""

    def gallery(self, model_digest: str, vector: str, after_row: int, limit: int) -> tuple[GalleryRows, int]:
        """Assigned tracklets after row number `after_row`, and the number to continue from.

        `vector` is `appearance` or `language`; the vectors are float32, as unit as float16 left them.
        """
        if vector not in _VECTORS:
            raise ConfigurationError(f"vector {vector!r} is unknown; expected one of {', '.join(_VECTORS)}")
        asked = {"digest": model_digest, "after": after_row, "most": limit}
        with self._database.reading() as connection:
            found = connection.execute(_GALLERIES[vector], asked).all()
        return _wide_rows(found, model_digest), found[-1].row if found else after_row

    def decided(self, model_digest: str, after_event: int, limit: int) -> tuple[GalleryRows, int]:
        """The same with appearance vectors, float16, in the order of decisions, whenever the vectors were made.

        `after_event` is the number of the event that gave a tracklet its identity.
        """
        while True:
            told, events = self.decisions(after_event, limit)
            if not len(events):
                return told, after_event
            after_event = int(events[-1])
            rows, own = self.with_vectors(model_digest, told, events)
            if len(own):
                thought = asdict(self.thoughts(own))
                return replace(rows, **thought), after_event

    def decisions(self, after_event: int, limit: int) -> tuple[GalleryRows, I64]:
        """The same, whether they have a vector or not, but without it, with NaN for what was thought of them; and the
        numbers of their events (N,)."""
        with self._database.reading() as connection:
            return decisions(connection, after_event, limit)

    def most_vectors(self, model_digest: str) -> int:
        """At least so many as there are of the model: told by the first and the last, however many there are."""
        first, last = (
            select(func.coalesce(end(embeddings.c.row), 0)).where(embeddings.c.model_digest == model_digest)
            for end in (func.min, func.max)
        )
        with self._database.reading() as connection:
            return 1 + int(connection.execute(last).scalar_one()) - int(connection.execute(first).scalar_one())

    def with_vectors(self, model_digest: str, rows: GalleryRows, events: I64) -> tuple[GalleryRows, I64]:
        """Those of some `decisions` that have an appearance vector, with it."""
        with self._database.reading() as connection:
            return with_vectors(connection, model_digest, rows, events)

    def thoughts(self, events: I64) -> Thoughts:
        """What was thought when decisions were made, by the numbers of their events (N,), ascending."""
        with self._database.reading() as connection:
            return thoughts(connection, events)

    def rows_of_identity(self, model_digest: str, global_ids: Sequence[GlobalId]) -> GalleryRows:
        """Everything that `decided` tells of some identities, in the same order."""
        found: list[tuple[Any, ...]] = []
        with self._database.reading() as connection:
            for part in in_parts(sorted(set(global_ids))):
                found += plain_rows(connection, _OF_PERSONS, {"digest": model_digest, "persons": part})
        return _wide_rows(sorted(found, key=itemgetter(0)), model_digest)

    def _add_vectors(self, connection: Connection, seen: Sequence[TrackletEmbedding]) -> list[TrackletEmbedding]:
        """Write those that are new, and return them. A tracklet that is not known yet is written too, without an
        identity."""
        if not seen:
            return []
        self._database.insert_new(connection, tracklets, [tracklet_row(embedding) for embedding in seen])
        return insert_embeddings(connection, seen)

    def undecided(self, model_digest: str, limit: int) -> list[TrackletEmbedding]:
        """Archived tracklets that have a vector of this model but no identity, the earliest first."""
        is_its_vector = (embeddings.c.tracklet_id == tracklets.c.tracklet_id) & (
            embeddings.c.model_digest == model_digest
        )
        query = (
            select(tracklets, embeddings.c.quality, embeddings.c.appearance, embeddings.c.language)
            # An outer join begins with the few that are undecided; an inner one would look at all vectors of the model,
            # and SQLite makes one of it where it sees that rows without a vector do not count.
            .outerjoin(embeddings, is_its_vector)
            .where(tracklets.c.global_id.is_(None), func.coalesce(embeddings.c.row, 0) > 0, IS_ARCHIVED, IS_IN_TIME)
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


def insert_embeddings(
    connection: Connection, seen: Sequence[TrackletEmbedding], decided: Container[TrackletId] = ()
) -> list[TrackletEmbedding]:
    """Write the vectors that are not there yet, and return them.

    Those that are there, of tracklets that were `decided` just now, get new numbers: readers who follow the numbers
    have passed them over, and find them again so.
    """
    by_key = {(embedding.tracklet_id, embedding.model_digest): embedding for embedding in seen}
    stored: list[tuple[Any, ...]] = []
    for part in in_parts([name for name, _ in by_key]):
        stored += plain_rows(connection, _STORED, {"names": part})
    there = {(name, digest) for _, name, digest in stored}
    fresh = [embedding for key, embedding in by_key.items() if key not in there]
    earlier = sorted(row for row, name, _ in stored if name in decided)
    if fresh or earlier:
        last = locked(connection, "row")
        execute_many(connection, _INSERT, [_vector_row(number, each) for number, each in enumerate(fresh, last + 1)])
        last += len(fresh)
        moved = [{"which": row, "number": number} for number, row in enumerate(earlier, last + 1)]
        execute_many(connection, _RENUMBER, moved)
        advance(connection, "row", last + len(earlier))
    return fresh


def _vector_row(number: int, seen: TrackletEmbedding) -> dict[str, Any]:
    return {
        "row": number,
        "tracklet_id": seen.tracklet_id,
        "model_digest": seen.model_digest,
        "quality": seen.quality,
        "appearance": seen.appearance,
        "language": seen.language,
    }


def _wide_rows(found: Sequence[Any], model_digest: str) -> GalleryRows:
    """Rows of a number, `SEEN` and a vector, which becomes float32."""
    *columns, vectors = zip(*found, strict=True) if found else ((),)
    return gallery_rows(columns, vector_matrix(vectors, model_digest).astype(np.float32))


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


def assigned(connection: Connection, tracklet_ids: Sequence[TrackletId]) -> dict[TrackletId, GlobalId]:
    """The identity of each tracklet that has one."""
    found: dict[TrackletId, GlobalId] = {}
    for part in in_parts(tracklet_ids):
        rows = connection.execute(_ASSIGNED, {"names": part})
        found |= {TrackletId(name): GlobalId(global_id) for name, global_id in rows}
    return found
