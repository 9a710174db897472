"""Reports of nights as a site may have them."""

from __future__ import annotations

from pathlib import Path

from services.nightly.report import GateRow, NightReport, Outcome, Survey, write_report
from tests.small_site import NOW

DAY_S = 86_400.0


def night_report(number: int, candidate: float | None, *, reason: str = "") -> NightReport:
    """The night so many days before the last; refused where the candidate gains less than half a point."""
    serving = 0.46
    is_passed = candidate is not None and candidate >= serving + 0.005
    gates = (
        GateRow(
            subject="image mAP of the probe set",
            serving=serving,
            candidate=candidate,
            least=serving + 0.005,
            rule="a gain of 0.5 points",
            is_passed=is_passed,
        ),
        GateRow(
            subject="text rank-1 of the probe set",
            serving=0.31,
            candidate=0.32,
            least=0.30,
            rule="at most a point is lost",
            is_passed=True,
        ),
    )
    started_at = NOW - number * DAY_S - 18 * 3600.0
    return NightReport(
        night=f"2026-05-{27 - number:02}T02-00-00Z",
        outcome=Outcome.PROMOTED if is_passed else Outcome.REFUSED,
        reasons=(reason or ("every gate passed" if is_passed else "the gain is too small"),),
        started_at=started_at,
        ended_at=started_at + 2700.0,
        since_at=started_at - 7 * DAY_S,
        until_at=started_at,
        attempts=1,
        serving_digest="4be5bf9a105eb861",
        candidate_digest=f"{number:016x}",
        survey=Survey(tracklets=2_870, crops=9_120, cameras=3, training_tracks=640, held_out_tracks=71),
        gates=gates,
        remarks=("camera pair 0-2 has too few queries",),
    )


def write_nights(folder: Path, *candidates: float | None) -> list[NightReport]:
    """The newest first."""
    reports = [night_report(number, candidate) for number, candidate in enumerate(candidates)]
    for report in reversed(reports):
        write_report(folder, report)
    return reports
