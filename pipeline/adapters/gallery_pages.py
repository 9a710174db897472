"""Assigned tracklets with their vectors as columns, and pages of them in the order of decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Integer, Select, and_, bindparam, cast, func, select

from pipeline.adapters.database import in_parts, plain_rows
from pipeline.adapters.model_changes import IS_DECIDED, IS_IN_TIME
from pipeline.adapters.schema import tracklets
from pipeline.adapters.vector_runs import BREAK, mixed, vectors_beside
from pipeline.contracts import F16, F32, I64
from pipeline.kept import GalleryRows, Thoughts

Column: TypeAlias = Sequence[Any] | npt.NDArray[Any]

_EVENT = tracklets.c.assigned_event
_THOUGHT = (tracklets.c.newness, tracklets.c.likeliest, tracklets.c.decided_at)
SEEN = (
    tracklets.c.tracklet_id,
    tracklets.c.global_id,
    tracklets.c.camera_id,
    tracklets.c.boot_id,
    tracklets.c.track_id,
    tracklets.c.started_at,
    tracklets.c.ended_at,
    *_THOUGHT,
)
_IS_NEXT, _LIMIT = bindparam("after") < _EVENT, bindparam("limit", type_=Integer)
_COLUMNS = (_EVENT, *SEEN[: -len(_THOUGHT)])
_NEXT = select(*_COLUMNS).where(IS_DECIDED, IS_IN_TIME, _IS_NEXT).order_by(_EVENT).limit(_LIMIT)
_LAST = select(func.max(select(_EVENT).where(_IS_NEXT).order_by(_EVENT).limit(_LIMIT).subquery().c.assigned_event))
_TEXTS = ("tracklet_id", "camera_id", "boot_id")
_TIMES = ("started_at", "ended_at")
_PER_S = 2.0**22  # parts of a second: moments after 2004 are whole numbers of them
_THOUGHTS = select(_EVENT, *_THOUGHT)
_THOUGHTS_BETWEEN = _THOUGHTS.where(IS_DECIDED, _EVENT.between(bindparam("first"), bindparam("last")))
_THOUGHTS_OF = _THOUGHTS.where(_EVENT.in_(bindparam("events", expanding=True)))


def _joined() -> Select[Any]:
    """Whether the times of decisions are whole numbers of `_PER_S`, and their `_COLUMNS` as one value each.

    SQLite lets go of Python's lock at each row that is told by itself, and waits for it while another thread computes:
    for 5 of 13 s, when the memory of a million tracklets is read back. Decimal numbers that are exact would take longer
    to be written and read than all the rest. And to put rows in order or to count them would copy each value first:
    they come in the order of the index anyway, and whoever asks looks whether they do.
    """
    parts = {name: tracklets.c[name] * _PER_S for name in _TIMES}
    whole = {name: cast(part, Integer) for name, part in parts.items()}
    is_exact = and_(*(whole[name] == part for name, part in parts.items()))
    columns = (func.group_concat(whole.get(each.name, each), BREAK) for each in _COLUMNS)
    return select(func.min(is_exact), *columns).where(IS_DECIDED, IS_IN_TIME, _IS_NEXT, bindparam("last") >= _EVENT)


_JOINED = _joined()


def decisions(connection: Connection, after_event: int, limit: int) -> tuple[GalleryRows, I64]:
    """The tracklets of the next decisions, at most `limit`, without vectors and what was thought of them, and the
    events of these decisions."""
    columns = _decisions(connection, {"after": after_event, "limit": limit})
    events = np.array(columns[0] if columns else (), np.int64)
    return gallery_rows(columns, np.zeros((len(events), 0), np.float16)), events


def with_vectors(connection: Connection, model_digest: str, rows: GalleryRows, events: I64) -> tuple[GalleryRows, I64]:
    """Those of the rows, with their events, that have a vector of the model."""
    has_vector, vectors = vectors_beside(connection, model_digest, rows.tracklet_ids)
    if not has_vector.all():
        places = np.flatnonzero(has_vector)
        rows, events = rows.some(places), events[places]
    return replace(rows, vectors=vectors), events


def _decisions(connection: Connection, asked: dict[str, int]) -> list[Column]:
    """Those of `_NEXT`, or of the first of these rows; none if there are no more."""
    is_whole = connection.dialect.name == "sqlite"
    while is_whole and (last := connection.execute(_LAST, asked).scalar()) is not None:
        is_exact, *joined = connection.execute(_JOINED, asked | {"last": last}).one()
        if is_exact is None:  # nobody among these is left
            asked = asked | {"after": last}
            continue
        columns = [_column(each.name, told) for each, told in zip(_COLUMNS, joined, strict=True)]
        if is_exact and (np.diff(columns[0]) > 0).all():
            return columns
        is_whole = False
    return list(zip(*plain_rows(connection, _NEXT, asked), strict=True))


def _column(name: str, joined: str) -> Column:
    if name in _TEXTS:
        return joined.split("\n")
    numbers = np.fromstring(joined, np.int64, sep="\n")
    return numbers / _PER_S if name in _TIMES else numbers


def thoughts(connection: Connection, events: I64) -> Thoughts:
    """What was thought when decisions were made, by the numbers of their events (N,), ascending; of those that are gone
    what counts where nobody noted it."""
    found = np.tile([0.0, 0.0, np.nan], (len(events), 1))
    for part in in_parts(events.tolist()):
        if part[-1] - part[0] < 4 * len(part):
            rows = plain_rows(connection, _THOUGHTS_BETWEEN, {"first": part[0], "last": part[-1]})
        else:
            rows = plain_rows(connection, _THOUGHTS_OF, {"events": part})
        told = np.array(rows, np.float64).reshape(-1, 1 + len(_THOUGHT))
        places = np.searchsorted(events, told[:, 0].astype(np.int64))
        is_asked = events[places] == told[:, 0]
        found[places[is_asked]] = told[is_asked, 1:]
    return Thoughts(*found.T)


def gallery_rows(columns: Sequence[Column], vectors: F16 | F32) -> GalleryRows:
    """Columns of a number and `SEEN`, beside vectors; what was thought may be left out, and of nobody everything."""
    _, names, global_ids, camera_ids, boot_ids, track_ids, started, ended, *thought = columns or [()] * (1 + len(SEEN))
    newness, likeliest, decided = thought or [np.full(len(names), np.nan)] * len(_THOUGHT)
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
        raise mixed(model_digest, lengths)
    return np.frombuffer(b"".join(vectors), "<f2").reshape(len(vectors), -1 if vectors else 0)
