"""Figures as plots: where lines and marks stand, for a template to draw. Pure; y grows downwards, as in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.nightly.report import NightReport

WIDTH, HEIGHT = 360.0, 120.0
_EDGE = 8.0  # around the marks
_LEAST_SPAN = 0.02  # of shares from 0 to 1: less would show noise as mountains


@dataclass(frozen=True, slots=True)
class Mark:
    """A candidate's figure in one night."""

    x: float
    y: float
    figure: float
    night: str
    is_passed: bool


@dataclass(frozen=True, slots=True)
class Trend:
    """One gate over the nights, oldest first: the serving model as a line, the candidates as marks."""

    subject: str
    line: str  # points of a polyline
    marks: tuple[Mark, ...]
    lowest: float
    highest: float
    first_night: str
    last_night: str


def trends(newest_first: Sequence[NightReport]) -> list[Trend]:
    """One for each gate that was measured, in the order in which the newest report names them."""
    subjects = dict.fromkeys(gate.subject for report in newest_first for gate in report.gates)
    return [trend for subject in subjects if (trend := _trend(subject, newest_first[::-1])) is not None]


def _trend(subject: str, reports: Sequence[NightReport]) -> Trend | None:
    rows = [(report.night, gate) for report in reports for gate in report.gates if gate.subject == subject]
    measured = [(night, gate) for night, gate in rows if gate.candidate is not None]
    if not measured:
        return None
    figures = [figure for _, gate in rows for figure in (gate.serving, gate.candidate) if figure is not None]
    middle, span = (min(figures) + max(figures)) / 2, max(max(figures) - min(figures), _LEAST_SPAN)
    lowest, highest = middle - span / 2, middle + span / 2

    def x(place: int) -> float:
        return WIDTH / 2 if len(rows) == 1 else _EDGE + (WIDTH - 2 * _EDGE) * place / (len(rows) - 1)

    def y(figure: float) -> float:
        return HEIGHT - _EDGE - (HEIGHT - 2 * _EDGE) * (figure - lowest) / (highest - lowest)

    return Trend(
        subject,
        " ".join(f"{x(place):.1f},{y(gate.serving):.1f}" for place, (_, gate) in enumerate(rows)),
        tuple(
            Mark(x(place), y(gate.candidate), gate.candidate, night, gate.is_passed)
            for place, (night, gate) in enumerate(rows)
            if gate.candidate is not None
        ),
        lowest,
        highest,
        rows[0][0],
        rows[-1][0],
    )
