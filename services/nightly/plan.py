"""What an unfinished night leaves behind, so that the next run can go on with it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError


class NightPlan(BaseModel):
    """Fixed when a night begins. It lies in the night's work folder, which goes when the night ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    night: str  # names it in report and history
    started_at: float
    since_at: float  # the span of the archive
    until_at: float
    serving_digest: str  # the model that it begins from
    configuration: str  # everything that decides about the result
    attempts: int = 1


def fresh_plan(now: float, days: float, serving_digest: str, configuration: str) -> NightPlan:
    night = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    return NightPlan(
        night=night,
        started_at=now,
        since_at=now - days * 86400.0,
        until_at=now,
        serving_digest=serving_digest,
        configuration=configuration,
    )


def continued(found: NightPlan | None, fresh: NightPlan, resume_within_s: float) -> NightPlan:
    """The plan to follow: the one found, counting one more attempt, if it began lately and from the same; else `fresh`.

    A night that began in the future (a clock was set back) is not gone on with.
    """
    if found is None or not 0.0 <= fresh.started_at - found.started_at <= resume_within_s:
        return fresh
    same = (found.serving_digest, found.configuration) == (fresh.serving_digest, fresh.configuration)
    return found.model_copy(update={"attempts": found.attempts + 1}) if same else fresh


def read_plan(path: Path) -> NightPlan | None:
    """None where there is none that this release can read."""
    try:
        return NightPlan.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
