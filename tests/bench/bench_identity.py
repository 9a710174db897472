"""Identities: real people replayed, simulated sites, many days on end; the matcher beside an oracle and the naive way.

In the short form about a minute. On demand, by environment variable:

- SIGHTLINE_DATA: the folder with `reid/market1501-split.zip` and `video/epfl-lab`; both are left out without it.
- BENCH_MODEL: the bundle for the replay (default sightline-small); BENCH_OSNET: a 256x128 ReID network in ONNX as well,
  calibrated on the training people, which it must not have been trained on.
- BENCH_VECTORS: a folder in which embedded replays are kept from run to run.
- BENCH_PEOPLE, BENCH_DAYS: of the long run (20000 and 30 take an hour; default 800 and 4).
- BENCH_RENDERED_S: so many seconds of a rendered site with 200 people, through the shipped models (default 0: none; 768
  show everybody once and take half an hour). BENCH_RENDERED_EVERY: in which of the cycles of 96 s each of them comes
  (default 8; with 1 all are there all the time, 23 in a picture).
- BENCH_SEEDS: how many sites of each kind, whose figures are averaged (default 1).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.matching.looks import LookPrior
from pipeline.matching.people import MemoryConfig
from services.evaluation.identity_answers import TrueTracklet
from services.evaluation.identity_matcher import OfflineMatcher
from services.evaluation.vector_looks import look_statistics
from services.evaluation.vector_site import SimulatedPeople, VectorSite
from services.matcher import prior_of
from tests.bench.identity.calibration import prior_from
from tests.bench.identity.endurance import Day, endure
from tests.bench.identity.epfl import epfl_figures
from tests.bench.identity.market import OnnxEncoder, market_arrivals
from tests.bench.identity.rendered import rendered_scenes
from tests.bench.identity.scenes import (
    IN_UNIFORM,
    SCENES,
    SHIPPED,
    WITH_PERFECT_ENCODER,
    WITH_RIGHT_CLOCKS,
    WITH_WRONG_CLOCKS,
    compared,
    people_of,
    prior_for,
)

MODEL = os.environ.get("BENCH_MODEL", "sightline-small")
OSNET = os.environ.get("BENCH_OSNET")
VECTORS = os.environ.get("BENCH_VECTORS")
PEOPLE, DAYS = int(os.environ.get("BENCH_PEOPLE", "800")), int(os.environ.get("BENCH_DAYS", "4"))
RENDERED_S = float(os.environ.get("BENCH_RENDERED_S", "0"))
SEEDS = int(os.environ.get("BENCH_SEEDS", "1"))
REPLAY = "Market-1501 replay"
COLUMNS = ("idf1", "idf1_second_half", "hota", "pair_precision", "pair_recall", "false_join_share", "opened_per_person")
REVISIONS = ("tentative_share", "changed_share", "merges_per_1000", "splits_per_1000", "to_final_p50_s")

Compared = Mapping[str, Mapping[str, Any]]


def main(out: Path) -> None:
    """Measure everything; write `out` and print tables."""
    console = Console(width=170)
    days = _endured()  # first, while no model fills the memory
    data = Path(os.environ.get("SIGHTLINE_DATA", "missing")) / "reid" / "market1501-split.zip"
    if not data.exists():
        console.print(f"{data} is not there: real people are left out; SIGHTLINE_DATA names the folder")
    comparisons = {name: _site(site) for name, site in SCENES.items()} | dict(_with_models(data))
    bars = _bars(comparisons, days)
    results = {"comparisons": comparisons, "days": [asdict(day) for day in days], "bars": bars}
    out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    console.print(_comparison("identities", comparisons, COLUMNS))
    console.print(_comparison("revisions", comparisons, REVISIONS))
    console.print(_days(days))
    for name, value in bars.items():
        console.print(f"{name}: {value:.3f}")


def _endured() -> list[Day]:
    site = VectorSite(cameras=6, people=PEOPLE, days=DAYS, open_s=12 * 3600.0, returning_share=0.5)
    matcher = OfflineMatcher(MemoryConfig(prior=prior_for(SHIPPED)))
    return endure(SimulatedPeople(site, np.random.default_rng(1)), matcher)


def _with_models(data: Path) -> Iterator[tuple[str, Compared]]:
    from reid_models.inference import load_encoder

    kept = Path(VECTORS) if VECTORS else None
    encoder = load_encoder(MODEL)
    prior = prior_of(encoder.manifest)
    if RENDERED_S:
        yield from rendered_scenes(encoder, prior, RENDERED_S)
    if data.exists():
        yield f"EPFL, two cameras, {MODEL}", epfl_figures(data.parents[1] / "video" / "epfl-lab", encoder, prior)
        yield f"{REPLAY}, {MODEL}", _compared(market_arrivals(data, encoder, kept), prior)
    if data.exists() and OSNET:
        osnet = OnnxEncoder(Path(OSNET))
        judged = market_arrivals(data, osnet, kept)
        people = {seen.true_id for seen in judged}
        everybody = market_arrivals(data, osnet, kept, with_distractors=True)
        prior = prior_from([seen for seen in everybody if seen.true_id not in people])
        yield f"{REPLAY}, {Path(OSNET).stem}", _compared(judged, prior)


def _site(site: VectorSite) -> dict[str, dict[str, Any]]:
    """Means over the seeds."""
    prior = prior_for(site.looks)
    runs = [_compared(people_of(site, seed), prior) for seed in range(1, SEEDS + 1)]
    return {
        name: {figure: _mean([run[name][figure] for run in runs]) for figure in figures}
        for name, figures in runs[0].items()
    }


def _compared(tracklets: Sequence[TrueTracklet], prior: LookPrior) -> dict[str, dict[str, Any]]:
    return compared(tracklets, prior) | {"vectors": asdict(look_statistics(tracklets))}


def _mean(values: list[Any]) -> float | None:
    return None if None in values else float(np.mean(values))


def _bars(comparisons: Mapping[str, Compared], days: Sequence[Day]) -> dict[str, float]:
    """The figures that are asked for, of the matcher at work."""
    found = {}
    for name, by_whom in comparisons.items():
        if name.startswith(REPLAY):
            idf1 = by_whom["matcher"]["idf1"]
            found[f"{name}: IDF1 as a share of the oracle's (at least 0.9)"] = idf1 / by_whom["oracle"]["idf1"]
            found[f"{name}: IDF1 above the naive way (at least 0.08)"] = idf1 - by_whom["naive"]["idf1"]
    right, wrong = (comparisons[name]["matcher"]["idf1_second_half"] for name in (WITH_RIGHT_CLOCKS, WITH_WRONG_CLOCKS))
    found["cost of wrong clocks in IDF1, second half (below 0.03)"] = right - wrong
    found["perfect encoder plus noise: IDF1 (at least 0.98)"] = comparisons[WITH_PERFECT_ENCODER]["matcher"]["idf1"]
    found["all in uniform: false joins (twice the budget at most)"] = comparisons[IN_UNIFORM]["matcher"][
        "false_join_share"
    ]
    if len(days) > 2:
        second, last = days[1], days[-1]
        found["last day: p99 of a decision against the second day (at most 1.2)"] = (
            last.decision_p99_ms / second.decision_p99_ms
        )
        found["last day: IDF1 lost since the second day (at most 0.02)"] = second.idf1 - last.idf1
        found["last day: memory grown since the second day, MB"] = last.memory_mb - second.memory_mb
    return found


def _comparison(title: str, comparisons: Mapping[str, Compared], figures: tuple[str, ...]) -> Table:
    table = Table("", "rank-1", "who", *(name.replace("_", " ") for name in figures), title=title)
    for name, by_whom in comparisons.items():
        rank_1 = by_whom.get("vectors", {}).get("rank_1")
        for place, who in enumerate(("oracle", "naive", "matcher")):
            begin = (name, _shown(rank_1)) if place == 0 else ("", "")
            table.add_row(*begin, who, *(_shown(by_whom[who].get(figure)) for figure in figures))
    return table


def _days(days: list[Day]) -> Table:
    table = Table(*(name.replace("_", " ") for name in asdict(days[0])), title=f"{PEOPLE} people in {DAYS} days")
    for day in days:
        table.add_row(*(_shown(value) for value in asdict(day).values()))
    return table


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
