"""What people said about answers to a description, in the database."""

from __future__ import annotations

from sqlalchemy import Connection, and_, delete, select

from pipeline.adapters.calibration_store import CalibrationStore
from pipeline.adapters.counters import advance, counted, locked, shared
from pipeline.adapters.schema import identities, search_verdicts
from pipeline.contracts import GlobalId
from pipeline.search.feedback import Verdict


class VerdictStore(CalibrationStore):
    """Verdicts by model, person and question, the last word of each."""

    def keep_verdict(self, model_digest: str, verdict: Verdict) -> None:
        """Write one; an earlier one on the same question and person makes way. Standing queries go by it at once. Of
        somebody who was forgotten meanwhile nothing is written."""
        same = and_(
            search_verdicts.c.model_digest == model_digest,
            search_verdicts.c.global_id == verdict.global_id,
            search_verdicts.c.question == verdict.question,
        )
        row = {
            "model_digest": model_digest,
            "global_id": verdict.global_id,
            "question": verdict.question,
            "log_odds": verdict.log_odds,
            "is_right": verdict.is_right,
            "made_by": verdict.made_by,
            "made_at": verdict.made_at,
        }
        is_known = select(identities.c.global_id).where(identities.c.global_id == verdict.global_id)
        with self._database.writing() as connection:
            shared(connection, "erasure")
            if connection.execute(is_known).one_or_none() is None:
                return
            change = locked(connection, "standing_change")
            connection.execute(delete(search_verdicts).where(same))
            connection.execute(search_verdicts.insert(), [row])
            advance(connection, "standing_change", change + 1)

    def verdict_change(self) -> int:
        """Grows with each verdict that is said, and with an erasure that takes some; also with standing queries."""
        with self._database.reading() as connection:
            return counted(connection, "standing_change")

    def verdicts_on(self, model_digest: str, question: str) -> dict[GlobalId, bool]:
        """Who was said to be right, or wrong, as an answer of a model to this very question."""
        query = select(search_verdicts.c.global_id, search_verdicts.c.is_right).where(
            search_verdicts.c.model_digest == model_digest, search_verdicts.c.question == question
        )
        with self._database.reading() as connection:
            return {GlobalId(row.global_id): row.is_right for row in connection.execute(query)}

    def verdicts(self, model_digest: str, limit: int) -> list[Verdict]:
        """The newest ones on answers of a model, the last first."""
        with self._database.reading() as connection:
            return read_verdicts(connection, model_digest, limit)


def read_verdicts(connection: Connection, model_digest: str, limit: int) -> list[Verdict]:
    """The newest ones on answers of a model, the last first."""
    query = (
        select(search_verdicts)
        .where(search_verdicts.c.model_digest == model_digest)
        .order_by(search_verdicts.c.made_at.desc(), search_verdicts.c.global_id, search_verdicts.c.question)
        .limit(limit)
    )
    return [
        Verdict(row.question, row.global_id, row.log_odds, row.is_right, row.made_by, row.made_at)
        for row in connection.execute(query)
    ]
