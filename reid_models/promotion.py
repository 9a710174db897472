"""Whether a candidate may serve: written gates over measured figures. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

CameraPair = tuple[int, int]  # numbers from 0, the smaller first

_NO_PROBE = "there is no probe set: held-out tracks of the site decide, and camera pairs are not judged"


@dataclass(frozen=True, slots=True)
class PairFigure:
    """Mean average precision between two cameras, and how many queries it rests on."""

    mean_average_precision: float
    queries: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one model; shares from 0 to 1, None where there was nothing to measure on."""

    image_mean_average_precision: float | None = None  # probe set, across cameras
    text_rank_1: float | None = None  # probe set, a sentence against single images
    camera_pairs: Mapping[CameraPair, PairFigure] = field(default_factory=dict)  # probe set
    tracks_mean_average_precision: float | None = None  # held-out tracks of the night, within each camera


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Bounds, all in shares from 0 to 1."""

    least_gain: float = 0.005  # of the leading figure: the probe's image mAP, else that of held-out tracks
    largest_text_loss: float = 0.01  # of text rank-1
    largest_pair_loss: float = 0.05  # of any camera pair's mAP
    least_pair_queries: int = 10  # a pair with fewer is reported and not judged
    largest_track_loss: float = 0.02  # of held-out tracks' mAP, where the probe leads


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition: the candidate's figure must reach `least`. `rule` says where the bound comes from."""

    subject: str
    serving: float
    candidate: float
    least: float
    rule: str

    @property
    def is_passed(self) -> bool:
        """A figure that is no number passes nothing."""
        return math.isfinite(self.candidate) and self.candidate >= self.least

    def __str__(self) -> str:
        return (
            f"{self.subject}: {self.candidate:.4f}, serving {self.serving:.4f}, at least {self.least:.4f} ({self.rule})"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every gate with its figures. Promoted if there is one, and all are passed."""

    gates: tuple[Gate, ...]
    remarks: tuple[str, ...]  # what could not be judged, and why

    @property
    def is_promoted(self) -> bool:
        return bool(self.gates) and all(gate.is_passed for gate in self.gates)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the candidate was refused; empty for a promoted one."""
        if not self.gates:
            return ("nothing could be measured, and what was not measured is not promoted",)
        return tuple(str(gate) for gate in self.gates if not gate.is_passed)


def judge(serving: Figures, candidate: Figures, config: GateConfig) -> Verdict:
    """Compare two models measured on the same images.

    The probe set leads where there is one: its image mAP must rise, nothing else may fall by more than its bound.
    Without a probe set the held-out tracks lead, and text is not judged.
    """
    leads_probe = serving.image_mean_average_precision is not None
    gates, remarks = _probe_gates(serving, candidate, config) if leads_probe else ([], [_NO_PROBE])
    tracks = (serving.tracks_mean_average_precision, candidate.tracks_mean_average_precision)
    gates += _gate("held-out tracks mAP", *tracks, -config.largest_track_loss if leads_probe else config.least_gain)
    if serving.text_rank_1 is None:
        remarks.append("text search was not measured: give the probe set captions")
    if serving.tracks_mean_average_precision is None:
        remarks.append("held-out tracks were not measured: none had another person beside it")
    return Verdict(tuple(gates), tuple(remarks))


def _probe_gates(serving: Figures, candidate: Figures, config: GateConfig) -> tuple[list[Gate], list[str]]:
    images = (serving.image_mean_average_precision, candidate.image_mean_average_precision)
    gates = _gate("probe image mAP", *images, config.least_gain)
    gates += _gate("probe text rank-1", serving.text_rank_1, candidate.text_rank_1, -config.largest_text_loss)
    remarks: list[str] = []
    for pair, before in sorted(serving.camera_pairs.items()):
        subject = f"probe mAP between cameras {pair[0] + 1} and {pair[1] + 1}"
        if before.queries < config.least_pair_queries:
            remarks.append(f"{subject}: {before.queries} queries are too few to judge")
            continue
        after = candidate.camera_pairs.get(pair)
        figure = None if after is None else after.mean_average_precision
        gates += _gate(subject, before.mean_average_precision, figure, -config.largest_pair_loss)
    return gates, remarks


def _gate(subject: str, before: float | None, after: float | None, change: float) -> list[Gate]:
    """One gate, or none where the serving model could not be measured either. `change` is the least one allowed."""
    if before is None:
        return []
    rule = f"up by {change:g}" if change > 0 else f"not down by more than {-change:g}"
    return [Gate(subject, before, math.nan if after is None else after, before + change, rule)]
