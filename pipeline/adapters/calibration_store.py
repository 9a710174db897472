"""What a site has taught the matcher, in the database."""

from __future__ import annotations

from sqlalchemy import delete, select

from pipeline.adapters.explanations import ExplanationStore
from pipeline.adapters.schema import calibrations
from pipeline.kept import KeptCalibration

_KEPT = 3  # of each model; decisions name older ones by number alone


class CalibrationStore(ExplanationStore):
    """The newest calibrations of each model. Only the matcher writes them."""

    def keep_calibration(self, model_digest: str, kept: KeptCalibration) -> None:
        """Write one; a number that exists stays as it is."""
        row = {
            "model_digest": model_digest,
            "number": kept.number,
            "learnt_at": kept.learnt_at,
            "content": kept.content,
        }
        outdated = delete(calibrations).where(
            calibrations.c.model_digest == model_digest, calibrations.c.number <= kept.number - _KEPT
        )
        with self._database.writing() as connection:
            self._database.insert_new(connection, calibrations, [row])
            connection.execute(outdated)

    def newest_calibration(self, model_digest: str) -> KeptCalibration | None:
        """The last one; None before the first."""
        query = (
            select(calibrations)
            .where(calibrations.c.model_digest == model_digest)
            .order_by(calibrations.c.number.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else KeptCalibration(row.number, row.learnt_at, row.content)
