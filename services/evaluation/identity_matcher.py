"""The matcher at work as one that can be tested offline: its decisions over a list, without bus and database."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.contracts import GlobalId, IdentityEventKind, TrackletEmbedding
from pipeline.decisions import Decision
from pipeline.interfaces import Gallery
from pipeline.matching.people import MemoryConfig, People, rows_of
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
            gallery: Gallery = ExactGallery(len(batch[0].appearance) // 2)
            self._people = People(gallery, self._config)
        decisions = self._people.decide(batch, self._next_id)
        self._people.remember(rows_of(decisions))
        self._next_id = GlobalId(self._next_id + sum(made.is_new for made in decisions))
        return [_assigned(made, now) for made in decisions]


def _assigned(made: Decision, now: float) -> Statement:
    names = (made.embedding.tracklet_id,)
    return Statement(now, IdentityEventKind.ASSIGNED, made.global_id, names, is_tentative=made.is_tentative)
