"""How a site changes its model, in the database: what lacks vectors of which model, and which model serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, exists, func, or_, select, tuple_

from pipeline.adapters.counters import shared
from pipeline.adapters.database import in_parts
from pipeline.adapters.history import History
from pipeline.adapters.schema import (
    crops,
    embedding_failures,
    embeddings,
    model_switches,
    retention_marks,
    tracklets,
)
from pipeline.contracts import TrackletId
from pipeline.forgetting import Kind
from pipeline.kept import Coverage, FailedEmbedding, ModelSwitch, Position

IS_ARCHIVED = exists().where(crops.c.tracklet_id == tracklets.c.tracklet_id)
IS_DECIDED = tracklets.c.global_id.is_not(None)
# Vectors beyond their time are given to nobody, whether they are removed yet or not.
IS_IN_TIME = ~(
    exists()
    .where(retention_marks.c.camera_id == tracklets.c.camera_id)
    .where(retention_marks.c.kind == Kind.VECTORS.value, retention_marks.c.kept_from > tracklets.c.started_at)
    .correlate(tracklets)
)


class ModelChanges(History):
    """Questions about the archive's readiness for a model, and the switches from one to the next."""

    def missing(
        self, model_digest: str, after: Position, limit: int, undecided_before: float | None = None
    ) -> list[Position]:
        """Archived tracklets that have no vector of this model, by their ends, after a position.

        Those with an identity, and those without one that ended before `undecided_before` (None: none of these).
        Tracklets of which the model gives no vector (`note_failures`) are not missing.
        """
        counted: ColumnElement[bool] = IS_DECIDED
        if undecided_before is not None:
            counted = or_(IS_DECIDED, tracklets.c.ended_at < undecided_before)
        place = tuple_(tracklets.c.ended_at, tracklets.c.tracklet_id)
        query = (
            select(tracklets.c.ended_at, tracklets.c.tracklet_id)
            .where(
                counted,
                IS_ARCHIVED,
                IS_IN_TIME,
                _lacks(embeddings, model_digest),
                _lacks(embedding_failures, model_digest),
            )
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
            IS_DECIDED, IS_ARCHIVED, IS_IN_TIME, _lacks(embedding_failures, model_digest)
        )
        failed = select(func.count()).where(embedding_failures.c.model_digest == model_digest)
        with self._database.reading() as connection:
            expected, covered = connection.execute(query).one()
            return Coverage(int(covered), int(expected), int(connection.execute(failed).scalar_one()))

    def note_failures(self, failures: Sequence[FailedEmbedding], failed_at: float) -> None:
        """Remember tracklets of which a model gives no vector, so that nobody waits for them.

        Those that were removed meanwhile are passed over.
        """
        with self._database.writing() as connection:
            shared(connection, "erasure")
            known: set[str] = set()
            for part in in_parts([failure.tracklet_id for failure in failures]):
                query = select(tracklets.c.tracklet_id).where(tracklets.c.tracklet_id.in_(part))
                known |= set(connection.execute(query).scalars())
            rows = [
                {
                    "tracklet_id": failure.tracklet_id,
                    "model_digest": failure.model_digest,
                    "failed_at": failed_at,
                    "reason": failure.reason[:400],
                }
                for failure in failures
                if failure.tracklet_id in known
            ]
            if rows:
                self._database.insert_new(connection, embedding_failures, rows)

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


def _lacks(table: Any, model_digest: str) -> ColumnElement[bool]:
    """Whether a tracklet has no row of this model in `embeddings` or `embedding_failures`."""
    return ~exists().where(table.c.tracklet_id == tracklets.c.tracklet_id, table.c.model_digest == model_digest)


def _some_missing(connection: Connection, model_digest: str) -> bool:
    # The latest first: vectors are made up from the earliest on, so what is missing is found at once.
    query = (
        select(tracklets.c.tracklet_id)
        .where(IS_DECIDED, IS_ARCHIVED, IS_IN_TIME)
        .where(_lacks(embeddings, model_digest), _lacks(embedding_failures, model_digest))
        .order_by(tracklets.c.ended_at.desc())
        .limit(1)
    )
    return connection.execute(query).first() is not None
