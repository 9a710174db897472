"""What one night did, as a value, as Markdown and as metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Self

from prometheus_client import CollectorRegistry, write_to_textfile
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline import metrics
from reid_models.promotion import Gate, Verdict

LATEST = "latest.json"
METRICS = "metrics.prom"

AFTER_A_PROMOTION = (
    "Services that run keep their model until their restart: restart `embed`, `match` and `api` together (or `up`). "
    "Vectors of two models are never compared. After the restart everybody is met as a new person once; people seen "
    "before are found by camera and time but not by words or likeness: a later release embeds the archive anew. What "
    "was stored stays as it is; `sightline models rollback` and a restart bring the old vectors back into use."
)


class Outcome(StrEnum):
    PROMOTED = "promoted"
    REFUSED = "refused"  # measured, and not good enough
    SKIPPED = "skipped"  # there was too little to learn from
    FAILED = "failed"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Survey(_Part):
    """What the archive had to offer."""

    tracklets: int
    crops: int
    cameras: int
    training_tracks: int
    held_out_tracks: int


class GateRow(_Part):
    """One gate as the report shows it; `candidate` is None where it could not be measured."""

    subject: str
    serving: float
    candidate: float | None
    least: float
    rule: str
    is_passed: bool

    @classmethod
    def of(cls, gate: Gate) -> Self:
        return cls(
            subject=gate.subject,
            serving=gate.serving,
            candidate=gate.candidate if math.isfinite(gate.candidate) else None,
            least=gate.least,
            rule=gate.rule,
            is_passed=gate.is_passed,
        )


class NightReport(_Part):
    """One night, from its archive to its verdict."""

    night: str
    outcome: Outcome
    reasons: tuple[str, ...]
    started_at: float
    ended_at: float
    since_at: float
    until_at: float
    attempts: int
    serving_digest: str
    candidate_digest: str | None = None
    probe_digest: str | None = None
    survey: Survey | None = None
    gates: tuple[GateRow, ...] = ()
    remarks: tuple[str, ...] = ()


def gate_rows(verdict: Verdict) -> tuple[GateRow, ...]:
    return tuple(GateRow.of(gate) for gate in verdict.gates)


def markdown(report: NightReport) -> str:
    """For people; the same content as the JSON."""
    return "\n".join(_lines(report)) + "\n"


def write_report(folder: Path, report: NightReport) -> Path:
    """Write Markdown and JSON under the night's name, the newest JSON and the metrics' file; returns the Markdown.

    `metrics.prom` is for the text file collector of Prometheus' node exporter, where the run ends with the night.
    """
    reports = folder / "reports"
    reports.mkdir(parents=True, exist_ok=True)
    document = reports / f"{report.night}.md"
    written = report.model_dump_json(indent=1) + "\n"
    replace_text(document, markdown(report))
    replace_text(reports / f"{report.night}.json", written)
    replace_text(folder / LATEST, written)
    show_metrics(report)
    registry = CollectorRegistry()
    for gauge in (metrics.NIGHT_OUTCOME, metrics.NIGHT_SECONDS, metrics.NIGHT_ENDED):
        registry.register(gauge)
    write_to_textfile(str(folder / METRICS), registry)
    return document


def read_report(path: Path) -> NightReport | None:
    """None where there is none that this release can read."""
    try:
        return NightReport.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def read_reports(folder: Path, limit: int) -> list[NightReport]:
    """Of the last nights, the newest first; what this release cannot read is left out."""
    paths = sorted((folder / "reports").glob("*.json"), reverse=True)
    found = (read_report(path) for path in paths)
    return list(islice((report for report in found if report is not None), limit))


def show_metrics(report: NightReport) -> None:
    """Set the metrics of the last night."""
    for outcome in Outcome:
        metrics.NIGHT_OUTCOME.labels(outcome.value).set(outcome is report.outcome)
    metrics.NIGHT_SECONDS.set(report.ended_at - report.started_at)
    metrics.NIGHT_ENDED.set(report.ended_at)


def replace_text(path: Path, text: str) -> None:
    """Readers see the old text or the new one."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _lines(report: NightReport) -> Iterator[str]:
    yield f"# Night {report.night}: {report.outcome.value}"
    yield ""
    yield from (f"- {reason}" for reason in report.reasons)
    yield ""
    yield f"| run | {_moment(report.started_at)} to {_moment(report.ended_at)}, attempt {report.attempts} |"
    yield "|---|---|"
    yield f"| archive | {_moment(report.since_at)} to {_moment(report.until_at)} |"
    if report.survey is not None:
        seen = report.survey
        yield f"| seen | {seen.tracklets} tracklets of {seen.cameras} cameras, {seen.crops} crops |"
        yield f"| tracks | {seen.training_tracks} taught, {seen.held_out_tracks} held out |"
    yield f"| serving model | `{report.serving_digest}` |"
    yield f"| candidate | {f'`{report.candidate_digest}`' if report.candidate_digest else 'none'} |"
    yield f"| probe set | {f'`{report.probe_digest}`' if report.probe_digest else 'none'} |"
    if report.gates:
        yield from ("", "| gate | serving | candidate | at least | bound | outcome |", "|---|---|---|---|---|---|")
        for gate in report.gates:
            figure = "not measured" if gate.candidate is None else f"{gate.candidate:.4f}"
            outcome = "passed" if gate.is_passed else "**not passed**"
            yield f"| {gate.subject} | {gate.serving:.4f} | {figure} | {gate.least:.4f} | {gate.rule} | {outcome} |"
    if report.remarks:
        yield ""
        yield from (f"- {remark}" for remark in report.remarks)
    if report.outcome is Outcome.PROMOTED:
        yield from ("", AFTER_A_PROMOTION)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
