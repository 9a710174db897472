"""Everything that is measured about identities, in one table's worth of figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.contracts import GlobalId, TrackletId
from services.evaluation.identity import IdentityScore, JudgedTracklet, score_identities
from services.evaluation.identity_answers import Statement, TrueTracklet, answers_of
from services.evaluation.identity_history import HistoryScore, score_history
from services.evaluation.identity_hota import HotaScore, score_hota


@dataclass(frozen=True, slots=True)
class IdentityReport:
    """One matcher on one list of tracklets. `hota` is None where it could not be computed; `score_hota` tells why."""

    identity: IdentityScore
    history: HistoryScore
    hota: HotaScore | None

    def figures(self) -> dict[str, Any]:
        """By name, flat."""
        return asdict(self.identity) | asdict(self.history) | (asdict(self.hota) if self.hota else {"hota": None})


def identity_report(tracklets: Sequence[TrueTracklet], statements: Iterable[Statement]) -> IdentityReport:
    """Judge all that a matcher said, in time order, about `tracklets`."""
    said = list(statements)
    finals = {name: answer.final for name, answer in answers_of(said).items()}
    judged = judged_tracklets(tracklets, finals)
    return IdentityReport(score_identities(judged), score_history(tracklets, said), score_hota(judged))


def judged_tracklets(
    tracklets: Iterable[TrueTracklet], identities: Mapping[TrackletId, GlobalId]
) -> list[JudgedTracklet]:
    """Tracklets beside their truth and what they were given."""
    return [
        JudgedTracklet(
            seen.embedding.camera_id,
            seen.embedding.detections,
            seen.true_id,
            identities.get(seen.embedding.tracklet_id),
        )
        for seen in tracklets
    ]
