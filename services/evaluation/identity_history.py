"""How a matcher came to its identities: wrong joins, revisions, and how long it took to be final."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import GlobalId, IdentityEventKind, TrackletId
from pipeline.matching.assignment import track_of
from pipeline.matching.evidence import TrackKey
from services.evaluation.identity_answers import Statement, TrueTracklet, answers_of


@dataclass(frozen=True, slots=True)
class HistoryScore:
    """How it went; shares from 0 to 1, and 0 where there was nothing to share.

    A join puts something with an identity that holds other tracklets already: the tracklets of one track when they
    are assigned, or all that a merge or split moves. A later piece of a track that the identity holds is no join, nor
    is a tentative statement; it becomes one when it is confirmed. A join is false when most tracklets of that identity
    at that moment are of another person than most of those that are put there (of equals, who came first counts).
    Joins of people that the truth does not know are left out.

    Merges and splits are statements, as many as are published. Time to final runs from the start of a tracklet, when
    its first good crop was taken, to the moment of the last change of its identity (or its confirmation), by the true
    clock.
    """

    joins: int
    false_join_share: float
    merges_per_1000: float  # per 1,000 tracklets
    splits_per_1000: float
    changed_share: float  # of tracklets whose published identity was another one before
    tentative_share: float  # of tracklets that stayed tentative to the end
    to_final_p50_s: float
    to_final_p95_s: float


def score_history(tracklets: Sequence[TrueTracklet], statements: Sequence[Statement]) -> HistoryScore:
    """Judge `statements`, in time order, about `tracklets`."""
    kinds = Counter(said.kind for said in statements)
    answers = answers_of(statements)
    joins = Counter(_joins(tracklets, statements))
    # A camera's clock may be wrong: the length of a tracklet is right all the same.
    waits_s = [
        answers[name].final_at - seen.arrived_at + seen.embedding.ended_at - seen.embedding.started_at
        for seen in tracklets
        if (name := seen.embedding.tracklet_id) in answers
    ] or [0.0]
    count = max(1, len(tracklets))
    return HistoryScore(
        joins=joins.total(),
        false_join_share=joins[False] / max(1, joins.total()),
        merges_per_1000=1000 * kinds[IdentityEventKind.MERGED] / count,
        splits_per_1000=1000 * kinds[IdentityEventKind.SPLIT] / count,
        changed_share=sum(bool(answer.changes) for answer in answers.values()) / count,
        tentative_share=sum(answer.is_tentative for answer in answers.values()) / count,
        to_final_p50_s=float(np.percentile(waits_s, 50)),
        to_final_p95_s=float(np.percentile(waits_s, 95)),
    )


def _joins(tracklets: Sequence[TrueTracklet], statements: Iterable[Statement]) -> Iterator[bool]:
    """Whether each join is right."""
    truth = {seen.embedding.tracklet_id: seen.true_id for seen in tracklets}
    tracks = {seen.embedding.tracklet_id: track_of(seen.embedding) for seen in tracklets}
    # Of each identity, in order of coming: whether the tracklet's place there is confirmed.
    members: defaultdict[GlobalId | None, dict[TrackletId, bool]] = defaultdict(dict)
    place: dict[TrackletId, GlobalId] = {}
    for said in statements:
        there = members[said.global_id]
        for moved in _moved_together(said, tuple(members[said.from_id]), tracks):
            own = {tracks[name] for name in moved}
            others = [name for name in there if tracks[name] not in own]
            is_held = said.kind is IdentityEventKind.ASSIGNED and any(
                is_confirmed and tracks[name] in own for name, is_confirmed in there.items()
            )
            if others and not said.is_tentative and not is_held:
                one, other = _majority(truth, moved), _majority(truth, others)
                if one is not None and other is not None:
                    yield one == other
            for name in moved:
                if place.get(name, said.global_id) != said.global_id:
                    del members[place[name]][name]
                place[name] = said.global_id
                there[name] = not said.is_tentative


def _moved_together(
    said: Statement, merged: tuple[TrackletId, ...], tracks: dict[TrackletId, TrackKey]
) -> list[tuple[TrackletId, ...]]:
    """Tracklets that are decided as one: a track when it is assigned, everything when it is merged or split."""
    if said.kind is not IdentityEventKind.ASSIGNED:
        return [said.tracklet_ids or merged]
    by_track: defaultdict[TrackKey, list[TrackletId]] = defaultdict(list)
    for name in said.tracklet_ids:
        by_track[tracks[name]].append(name)
    return [tuple(names) for names in by_track.values()]


def _majority(truth: dict[TrackletId, int | None], names: Iterable[TrackletId]) -> int | None:
    persons = Counter(truth[name] for name in names)
    del persons[None]
    return persons.most_common(1)[0][0] if persons else None
