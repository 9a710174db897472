"""The matcher at work as one that can be tested offline: its decisions over a list, without bus and database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.contracts import GlobalId, IdentityEventKind, TrackletEmbedding
from pipeline.decisions import Decision, Revision
from pipeline.matching.assignment import track_of
from pipeline.matching.learning import is_due, learn
from pipeline.matching.people import MemoryConfig, People, rows_of
from pipeline.matching.reviser import parting
from pipeline.matching.revision import clashes, merges
from services.evaluation.identity_answers import Statement


class OfflineMatcher:
    """`IdentityMatcher` of the product. All vectors must be of one model; the first decides their length."""

    def __init__(self, config: MemoryConfig) -> None:
        self._config = config
        self._people: People | None = None
        self._next_id = GlobalId(1)
        self._pieces: dict[GlobalId, list[Decision]] = {}

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
        for made in decisions:
            self._pieces.setdefault(made.global_id, []).append(made)
        said = [_assigned(made, now) for made in decisions]
        said += [_revised(each, now) for each in self._parted(people, batch)]
        return said + [_revised(each, now) for each in self._merged(people, batch)]

    def _parted(self, people: People, batch: Sequence[TrackletEmbedding]) -> Iterator[Revision]:
        for clash in clashes(people, list(dict.fromkeys(track_of(piece) for piece in batch))):
            own = self._pieces[clash.global_id]
            revision = parting(people, clash, rows_of(own), self._next_id)
            if revision is not None:
                self._next_id = GlobalId(self._next_id + 1)
                left = [made for made in own if made.embedding.tracklet_id in revision.tracklet_ids]
                self._pieces[clash.global_id] = [made for made in own if made not in left]
                self._pieces[revision.to_id] = [replace(made, global_id=revision.to_id) for made in left]
                people.revise([revision], rows_of([*self._pieces[clash.global_id], *self._pieces[revision.to_id]]))
                yield revision

    def _merged(self, people: People, batch: Sequence[TrackletEmbedding]) -> Iterator[Revision]:
        found_by = (people.tracks.identity(track_of(piece)) for piece in batch)
        touched = [global_id for global_id in found_by if global_id is not None]
        while found := merges(people, touched):
            for merge in found:
                people.merge(merge.to_id, merge.from_id)
                moved = self._pieces.pop(merge.from_id)
                self._pieces[merge.to_id] += [replace(made, global_id=merge.to_id) for made in moved]
                yield merge
            touched += [merge.to_id for merge in found]


def _revised(revision: Revision, now: float) -> Statement:
    return Statement(now, revision.kind, revision.to_id, revision.tracklet_ids, from_id=revision.from_id)


def _assigned(made: Decision, now: float) -> Statement:
    names = (made.embedding.tracklet_id,)
    return Statement(now, IdentityEventKind.ASSIGNED, made.global_id, names, is_tentative=made.is_tentative)
