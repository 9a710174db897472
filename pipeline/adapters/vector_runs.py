"""Vectors of many tracklets at once, read in the order in which they lie in the database."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    String,
    bindparam,
    cast,
    func,
    literal,
    literal_column,
    select,
)

from pipeline.adapters.database import in_parts
from pipeline.adapters.schema import embeddings
from pipeline.contracts import F16, I64, TrackletId
from pipeline.errors import ModelVersionMismatch

_RUN = 2048  # vectors that are read at once: 2 MB, for which the C library needs no new pages each time
_SAMPLES = 32  # tracklets that are asked where the vectors of all lie

# As text of the statement: SQLite makes a copy of a parameter for each value that it joins, and that takes as long as
# all the rest.
BREAK = literal_column("'\n'", String)
_NOTHING = literal_column("''", String)

_IS_NAMED = embeddings.c.tracklet_id.in_(bindparam("names", expanding=True))
_IS_OF_MODEL = embeddings.c.model_digest == bindparam("model_digest")
_IS_IN_RUN = embeddings.c.row.between(bindparam("first"), bindparam("last"))
# SQLite would take the index by model and row for this, and descend from there to each row by itself.
_IS_OF_MODEL_UNSORTED = func.coalesce(embeddings.c.model_digest, "") == bindparam("model_digest")
_ROWS = select(embeddings.c.row).where(_IS_NAMED, _IS_OF_MODEL)


def _joined(*conditions: ColumnElement[bool]) -> dict[str, Select[Any]]:
    """By dialect: names and vectors as one value each, and the length of the longest vector.

    The database puts them together without Python, so that meanwhile another thread can work. Both are fed row by row,
    so their order is the same, whatever it is.
    """
    name, vector = embeddings.c.tracklet_id, embeddings.c.appearance
    values = {
        # SQLite joins the bytes as they are.
        "sqlite": (func.group_concat(name, BREAK), cast(func.group_concat(vector, _NOTHING), LargeBinary)),
        "postgresql": (func.string_agg(name, "\n"), func.string_agg(vector, literal(b"", LargeBinary))),
    }
    return {
        dialect: select(*both, func.max(func.length(vector))).where(*conditions) for dialect, both in values.items()
    }


_RUNS = _joined(_IS_IN_RUN, _IS_OF_MODEL_UNSORTED)
_SINGLES = _joined(_IS_NAMED, _IS_OF_MODEL)
_LENGTHS = select(func.length(embeddings.c.appearance)).where(_IS_OF_MODEL).distinct()


def vectors_beside(
    connection: Connection, model_digest: str, tracklet_ids: Sequence[TrackletId]
) -> tuple[npt.NDArray[np.bool_], F16]:
    """(N,) which of the tracklets, all different, have a vector of the model, and (M, D) these vectors.

    Vectors lie nearly in the order of decisions, so those of a page of decisions are read as one run, whoever else is
    in it, and only what lies elsewhere is looked up by name.
    """
    table = _Table(tracklet_ids)
    first, last = _run(connection, model_digest, tracklet_ids)
    for begin in range(first, last + 1, _RUN):
        between = {"first": begin, "last": min(begin + _RUN - 1, last), "model_digest": model_digest}
        table.put(*connection.execute(_RUNS[connection.dialect.name], between).one())
    for names in in_parts(table.missing()):
        asked = {"names": names, "model_digest": model_digest}
        table.put(*connection.execute(_SINGLES[connection.dialect.name], asked).one())
    if not table.is_even:
        lengths = connection.execute(_LENGTHS, {"model_digest": model_digest}).scalars()
        raise mixed(model_digest, sorted(lengths))
    return table.has_vector, table.vectors()


class _Table:
    """Vectors beside their tracklets."""

    def __init__(self, tracklet_ids: Sequence[TrackletId]) -> None:
        self.has_vector = np.zeros(len(tracklet_ids), np.bool_)
        self.is_even = True  # all vectors that came have one length
        self._tracklet_ids = list(tracklet_ids)
        self._next = 0  # after those of the run before
        self._vectors: F16 = np.zeros((0, 0), np.float16)

    def put(self, names: str | None, joined: bytes | None, longest: int) -> None:
        """Whoever is not asked for is passed over."""
        if names is None or joined is None:
            return
        own = names.split("\n")
        asked, told = self._places(own)
        if not self.has_vector[asked].size:
            return
        if not self._vectors.size:
            self._vectors = np.zeros((len(self.has_vector), longest // 2), np.float16)
        if len(joined) != len(own) * longest or longest != 2 * self._vectors.shape[1]:
            self.is_even = False
            return
        self._vectors[asked] = np.frombuffer(joined, "<f2").reshape(len(own), -1)[told]
        self.has_vector[asked] = True

    def _places(self, names: list[str]) -> tuple[I64 | slice, I64 | slice]:
        """Of those who are asked for, among them and among these."""
        begin, end = self._next, self._next + len(names)
        if self._tracklet_ids[begin:end] == names:  # nearly always: it saves looking for each
            self._next = end
            return slice(begin, end), slice(None)
        found = np.fromiter((self._place_of.get(name, -1) for name in names), np.int64, len(names))
        told = np.flatnonzero(found >= 0)
        self._next = int(found.max()) + 1 if len(told) else self._next
        return found[told], told

    @cached_property
    def _place_of(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self._tracklet_ids)}

    def missing(self) -> list[TrackletId]:
        return [self._tracklet_ids[place] for place in np.flatnonzero(~self.has_vector).tolist()]

    def vectors(self) -> F16:
        return self._vectors if self.has_vector.all() else self._vectors[self.has_vector[: len(self._vectors)]]


def _run(connection: Connection, model_digest: str, tracklet_ids: Sequence[TrackletId]) -> tuple[int, int]:
    """The first and the last row of the vectors of the most tracklets, as far as they lie close together."""
    sample = [*tracklet_ids[:: max(1, len(tracklet_ids) // _SAMPLES)], *tracklet_ids[-1:]]
    found = connection.execute(_ROWS, {"names": sample, "model_digest": model_digest}).scalars()
    rows: I64 = np.sort(np.fromiter(found, np.int64))
    if not len(rows):
        return 0, -1
    ends = np.searchsorted(rows, rows + 2 * len(tracklet_ids))
    densest = int((ends - np.arange(len(rows))).argmax())
    return int(rows[densest]), int(rows[ends[densest] - 1])


def mixed(model_digest: str, lengths: Sequence[int]) -> ModelVersionMismatch:
    """`lengths` of vectors in bytes."""
    return ModelVersionMismatch(
        f"model {model_digest} has vectors of {' and '.join(str(length // 2) for length in lengths)} values in the "
        "database; expected one dimension per digest: import the model again, so that it gets a digest of its own"
    )
