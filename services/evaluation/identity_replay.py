"""What `sightline evaluate identity` measures: a replay through encoder and matcher, beside its references."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.interfaces import Encoder
from pipeline.matching.people import MemoryConfig
from services.evaluation.identity_answers import play
from services.evaluation.identity_baselines import Baseline, naive, oracle
from services.evaluation.identity_matcher import OfflineMatcher
from services.evaluation.identity_report import identity_report
from services.evaluation.market_replay import ReplayedTracklet, embed_replay

REFERENCES: Mapping[str, Baseline] = {"oracle": oracle, "naive": naive}


def evaluate_identity(
    replayed: Sequence[ReplayedTracklet],
    encoder: Encoder,
    config: MemoryConfig,
    has_references: bool = False,
    progress: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    """All figures by name. `has_references`: also shares that the offline oracle and the naive matcher reach.

    `progress` hears shares from 0 to 1.
    """
    arrivals = []
    for number, arrival in enumerate(embed_replay(replayed, encoder), 1):
        arrivals.append(arrival)
        progress(number / len(replayed))
    figures = identity_report(arrivals, play(OfflineMatcher(config), arrivals)).figures()
    for name, answer in REFERENCES.items() if has_references else ():
        found = identity_report(arrivals, answer(arrivals)).figures()
        figures |= {f"{name}_{figure}": value for figure, value in found.items() if isinstance(value, float)}
    return figures
