"""What a matcher said about tracklets: the one form in which every matcher under test answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

from pipeline.contracts import GlobalId, IdentityEventKind, TrackletEmbedding, TrackletId

_QUIET_S = 3600.0  # how long nobody comes after the last tracklet


@dataclass(frozen=True, slots=True)
class TrueTracklet:
    """One tracklet as it reaches a matcher, and who it really is."""

    embedding: TrackletEmbedding
    true_id: int | None  # None: nobody that the truth knows
    arrived_at: float  # by the one true clock, in seconds; the times in `embedding` are by the camera's own


@dataclass(frozen=True, slots=True)
class Statement:
    """From `said_at` on, some tracklets are published as one person.

    ASSIGNED: they had no identity, or had this one tentatively. SPLIT: they had another one. MERGED: it is about
    whatever `from_id` has at that moment, and names no tracklets.
    """

    said_at: float
    kind: IdentityEventKind
    global_id: GlobalId
    tracklet_ids: tuple[TrackletId, ...] = ()
    from_id: GlobalId | None = None
    is_tentative: bool = False


@dataclass(frozen=True, slots=True)
class IdentityAnswer:
    """All that was said about one tracklet."""

    first: GlobalId
    final: GlobalId
    first_at: float
    final_at: float  # when `final` was said, or confirmed
    is_tentative: bool  # to the end
    changes: tuple[Statement, ...]  # merges and splits that gave it another identity, in time order


class IdentityMatcher(Protocol):
    """A matcher under test: the real one, or a baseline."""

    def take(self, batch: Sequence[TrackletEmbedding], now: float) -> Sequence[Statement]:
        """What is said at `now` with one more micro-batch, about its tracklets and about earlier ones.

        An empty batch is a quiet moment.
        """


def play(matcher: IdentityMatcher, arrivals: Iterable[TrueTracklet], batch_s: float = 1.0) -> Iterator[Statement]:
    """Everything that a matcher says on a virtual clock, in order.

    `arrivals` come in the order of `arrived_at`; those of the same `batch_s` are a batch, decided when it is over. A
    quiet hour ends the run.
    """
    now = 0.0
    for number, batch in groupby(arrivals, key=lambda seen: seen.arrived_at // batch_s):
        now = (number + 1) * batch_s
        yield from matcher.take([seen.embedding for seen in batch], now)
    yield from matcher.take([], now + _QUIET_S)


def answers_of(statements: Iterable[Statement]) -> dict[TrackletId, IdentityAnswer]:
    """Statements in time order, sorted by tracklet. To say again what is known changes nothing."""
    found: dict[TrackletId, IdentityAnswer] = {}
    members: defaultdict[GlobalId | None, dict[TrackletId, None]] = defaultdict(dict)
    for said in statements:
        for name in said.tracklet_ids or tuple(members[said.from_id]):
            before = found.get(name)
            if before is not None:
                del members[before.final][name]
            members[said.global_id][name] = None
            found[name] = _first_answer(said) if before is None else _revised(before, said)
    return found


def _first_answer(said: Statement) -> IdentityAnswer:
    return IdentityAnswer(said.global_id, said.global_id, said.said_at, said.said_at, said.is_tentative, ())


def _revised(before: IdentityAnswer, said: Statement) -> IdentityAnswer:
    if before.final == said.global_id:
        if before.is_tentative == said.is_tentative:
            return before
        return replace(before, final_at=said.said_at, is_tentative=said.is_tentative)
    return replace(
        before,
        final=said.global_id,
        final_at=said.said_at,
        is_tentative=said.is_tentative,
        changes=(*before.changes, said),
    )
