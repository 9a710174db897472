"""Assigned tracklets with their vectors as columns, and pages of them in the order of decisions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, LargeBinary, Select, bindparam, cast, func, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from pipeline.adapters.database import plain_rows
from pipeline.adapters.model_changes import IS_DECIDED, IS_IN_TIME
from pipeline.adapters.schema import embeddings, tracklets
from pipeline.contracts import F16, F32
from pipeline.errors import ModelVersionMismatch
from pipeline.kept import GalleryRows

_EVENT = tracklets.c.assigned_event
SEEN = (
    tracklets.c.tracklet_id,
    tracklets.c.global_id,
    tracklets.c.camera_id,
    tracklets.c.boot_id,
    tracklets.c.track_id,
    tracklets.c.started_at,
    tracklets.c.ended_at,
    tracklets.c.newness,
    tracklets.c.likeliest,
    tracklets.c.decided_at,
)
_IS_ITS_VECTOR = (embeddings.c.tracklet_id == tracklets.c.tracklet_id) & (
    embeddings.c.model_digest == bindparam("model_digest")
)
_NEXT = (
    select(_EVENT.label("event"), embeddings.c.appearance.label("vector"))
    .select_from(tracklets)
    # An outer join walks along the decisions; an inner one would sort all vectors of the model for each page.
    .outerjoin(embeddings, _IS_ITS_VECTOR & IS_IN_TIME)
    .where(IS_DECIDED, bindparam("after") < _EVENT)
    .order_by(_EVENT)
    .limit(bindparam("limit"))
    .subquery()
)
_SEEN_BETWEEN = (
    select(_EVENT, *SEEN).where(IS_DECIDED, bindparam("after") < _EVENT, bindparam("up_to") >= _EVENT).order_by(_EVENT)
)


def _joined(events: Any, vectors: Any) -> Select[Any]:
    """The last event of a page, the events of the tracklets that have a vector, their vectors as one, and the lengths
    of the shortest and the longest."""
    length = func.length(_NEXT.c.vector)
    return select(func.max(_NEXT.c.event), events, vectors, func.min(length), func.max(length))


_HAS_VECTOR = _NEXT.c.vector.is_not(None)
_VECTORS = {
    # SQLite joins the bytes as they are, and in the order of the rows that it is given.
    "sqlite": _joined(
        func.json_group_array(_NEXT.c.event).filter(_HAS_VECTOR),
        cast(func.group_concat(_NEXT.c.vector, literal("")), LargeBinary),
    ),
    "postgresql": _joined(
        func.array_agg(aggregate_order_by(_NEXT.c.event, _NEXT.c.event)).filter(_HAS_VECTOR),
        func.string_agg(_NEXT.c.vector, aggregate_order_by(literal(b"", LargeBinary), _NEXT.c.event)),
    ),
}


def decided_page(
    connection: Connection, model_digest: str, after_event: int, limit: int
) -> tuple[GalleryRows, int] | None:
    """The tracklets of the next `limit` decisions, as far as they have a vector, and the last of these decisions; None
    when there are no more.

    The vectors come as one value: the database puts them together without Python, so that meanwhile another thread can
    take in the page before.
    """
    wanted = {"model_digest": model_digest, "after": after_event, "limit": limit}
    last, events, joined, shortest, longest = connection.execute(_VECTORS[connection.dialect.name], wanted).one()
    if last is None:
        return None
    if shortest != longest:
        raise _mixed(model_digest, (shortest, longest))
    numbers = json.loads(events) if isinstance(events, str) else events
    if not numbers:
        return gallery_rows((), vector_matrix((), model_digest)), last
    rows = plain_rows(connection, _SEEN_BETWEEN, {"after": after_event, "up_to": last})
    if len(rows) > len(numbers):
        having = set(numbers)
        rows = [row for row in rows if row[0] in having]
    return gallery_rows(rows, np.frombuffer(joined, "<f2").reshape(len(numbers), -1)), last


def gallery_rows(found: Sequence[Sequence[Any]], vectors: F16 | F32) -> GalleryRows:
    """Rows that begin with a number and `SEEN`, as columns beside their vectors."""
    columns = list(zip(*found, strict=True))[1 : 1 + len(SEEN)] if found else [()] * len(SEEN)
    names, global_ids, camera_ids, boot_ids, track_ids, started, ended, newness, likeliest, decided = columns
    return GalleryRows(
        tracklet_ids=list(names),
        global_ids=np.array(global_ids, np.int64),
        camera_ids=list(camera_ids),
        boot_ids=list(boot_ids),
        track_ids=np.array(track_ids, np.int64),
        started_at=np.array(started, np.float64),
        ended_at=np.array(ended, np.float64),
        newness=np.array(newness, np.float64),
        likeliest=np.array(likeliest, np.float64),
        decided_at=np.array(decided, np.float64),
        vectors=vectors,
    )


def vector_matrix(vectors: Sequence[bytes], model_digest: str) -> F16:
    """Little-endian float16 bytes of one length → (N, D)."""
    lengths = sorted({len(vector) for vector in vectors})
    if len(lengths) > 1:
        raise _mixed(model_digest, lengths)
    return np.frombuffer(b"".join(vectors), "<f2").reshape(len(vectors), -1 if vectors else 0)


def _mixed(model_digest: str, lengths: Sequence[int]) -> ModelVersionMismatch:
    """`lengths` of vectors in bytes."""
    return ModelVersionMismatch(
        f"model {model_digest} has vectors of {' and '.join(str(length // 2) for length in lengths)} values in the "
        "database; expected one dimension per digest: import the model again, so that it gets a digest of its own"
    )
