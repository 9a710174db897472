"""The matcher at work as one that can be tested offline: its decisions over a list, without bus and database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.contracts import GlobalId, IdentityEventKind, TrackletEmbedding
from pipeline.decisions import Decision
from pipeline.matching.learning import is_due, learn
from pipeline.matching.people import MemoryConfig, People, rows_of
from pipeline.matching.revision import merges
from services.evaluation.identity_answers import Statement


class OfflineMatcher:
    """`IdentityMatcher` of the product. All vectors must be of one model; the first decides their length."""

    def __init__(self, config: MemoryConfig) -> None:
        self._config = config
        self._people: People | None = None
        self._next_id = GlobalId(1)

    def take(self, batch: Sequence[TrackletEmbedding], now: float) -> list[Statement]:
        if not batch:
            return []
        if self._people is None:
            dimension = len(batch[0].appearance) // 2
            self._people = People(ExactGallery(dimension), dimension, self._config)
        people = self._people
        if is_due(people.tracklets, people.calibration.tracklets):
            people.calibrate(learn(people, {}))
        decisions = people.decide(batch, self._next_id)
        people.remember(rows_of(decisions))
        self._next_id = GlobalId(self._next_id + sum(made.is_new for made in decisions))
        return [_assigned(made, now) for made in decisions] + list(self._merged(people, decisions, now))

    def _merged(self, people: People, decisions: Sequence[Decision], now: float) -> Iterator[Statement]:
        touched = [made.global_id for made in decisions]
        while found := merges(people, touched):
            for merge in found:
                people.merge(merge.to_id, merge.from_id)
                yield Statement(now, IdentityEventKind.MERGED, merge.to_id, from_id=merge.from_id)
            touched += [merge.to_id for merge in found]


def _assigned(made: Decision, now: float) -> Statement:
    names = (made.embedding.tracklet_id,)
    return Statement(now, IdentityEventKind.ASSIGNED, made.global_id, names, is_tentative=made.is_tentative)
