"""The matcher at work as one that can be tested offline: its decisions over a list, without bus and database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.contracts import GlobalId, IdentityEvent, IdentityEventKind, TrackletEmbedding, TrackletId
from pipeline.decisions import Decision, Revision
from pipeline.kept import GalleryRows
from pipeline.matching.learning import is_due, learn
from pipeline.matching.people import MemoryConfig, People, rows_of
from pipeline.matching.reviser import reconsider
from services.evaluation.identity_answers import Statement


class OfflineMatcher:
    """`IdentityMatcher` of the product. All vectors must be of one model; the first decides their length."""

    def __init__(self, config: MemoryConfig) -> None:
        self._config = config
        self._people: People | None = None
        self._books = _Books()

    def take(self, batch: Sequence[TrackletEmbedding], now: float) -> list[Statement]:
        if not batch:
            return []
        if self._people is None:
            dimension = len(batch[0].appearance) // 2
            self._people = People(ExactGallery(dimension), dimension, self._config)
        people, books = self._people, self._books
        if is_due(people.tracklets, people.calibration.tracklets):
            people = self._people = self._taught(people)
        decisions = people.decide(batch, books.next_global_id())
        books.commit_decisions(decisions, now)
        people.remember(rows_of(decisions, [now] * len(decisions)))
        reconsider(people, books, batch, now)
        return books.said()

    def _taught(self, people: People) -> People:
        calibration = learn(people, {})
        if people.same_clocks(calibration):
            people.calibrate(calibration)
            return people
        dimension = people.exemplars.dimension
        again = People(ExactGallery(dimension), dimension, self._config, calibration)
        again.recall([self._books.everything()])
        return again


class _Books:
    """Everything decided, by person: what the `Store` is for the matcher at work."""

    def __init__(self) -> None:
        self._of: dict[GlobalId, list[Decision]] = {}
        self._decided_at: dict[TrackletId, float] = {}  # in the order of decisions
        self._last_id = GlobalId(0)
        self._said: list[Statement] = []

    def commit_decisions(
        self, decisions: Sequence[Decision], decided_at: float, revisions: Sequence[Revision] = ()
    ) -> list[IdentityEvent]:
        for made in decisions:
            self._give(made.global_id, [made])
            self._decided_at[made.embedding.tracklet_id] = decided_at
            self._said.append(_assigned(made, decided_at))
        for revision in revisions:
            own = self._of.pop(revision.from_id)
            named = set(revision.tracklet_ids)  # none: all of them go
            self._give(revision.to_id, [made for made in own if not named or made.embedding.tracklet_id in named])
            if named:
                self._give(revision.from_id, [made for made in own if made.embedding.tracklet_id not in named])
            self._said.append(_revised(revision, decided_at))
        return []  # no corrections that would have to follow events

    def next_global_id(self) -> GlobalId:
        return GlobalId(self._last_id + 1)

    def rows_of_identity(self, _model_digest: str, global_ids: Sequence[GlobalId], /) -> GalleryRows:
        return self._rows([made for global_id in global_ids for made in self._of[global_id]])

    def everything(self) -> GalleryRows:
        """In the order of decisions."""
        made_of = {made.embedding.tracklet_id: made for own in self._of.values() for made in own}
        return self._rows([made_of[name] for name in self._decided_at])

    def _rows(self, decisions: Sequence[Decision]) -> GalleryRows:
        return rows_of(decisions, [self._decided_at[made.embedding.tracklet_id] for made in decisions])

    def said(self) -> list[Statement]:
        """What is new since the last time."""
        said, self._said = self._said, []
        return said

    def _give(self, global_id: GlobalId, decisions: Sequence[Decision]) -> None:
        self._last_id = max(self._last_id, global_id)
        self._of.setdefault(global_id, []).extend(replace(made, global_id=global_id) for made in decisions)


def _revised(revision: Revision, now: float) -> Statement:
    return Statement(now, revision.kind, revision.to_id, revision.tracklet_ids, from_id=revision.from_id)


def _assigned(made: Decision, now: float) -> Statement:
    names = (made.embedding.tracklet_id,)
    return Statement(now, IdentityEventKind.ASSIGNED, made.global_id, names, is_tentative=made.is_tentative)
