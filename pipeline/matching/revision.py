"""Second thoughts, pure: identities that turn out to be one person, now that more has been seen of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F32, F64, I64, GlobalId, IdentityEventKind
from pipeline.decisions import CandidateEvidence, Evidence, Revision
from pipeline.matching.evidence import Bools, probabilities, rounded
from pipeline.matching.exemplars import ranks
from pipeline.matching.people import People
from pipeline.matching.tracks import Spans
from pipeline.matching.walks import gap_s, walk_odds

# So many times the budget may be wrong of the merges: one is thought of again with every piece that comes, until it
# is made for good, and among many thoughts is a mistaken one.
_MORE_WRONG = 2.0
_NO_RIVAL = 6.0  # log-odds behind the best
_MOST_LOOKED_AT, _MOST = 64, 8  # identities whose looks, and whose ways, are weighed against one
_NEAREST = 2 * _MOST  # identities asked for: what cameras tell changes the order of the most alike a little


def merges(people: People, touched: Sequence[GlobalId]) -> list[Revision]:
    """Which identities are one person, now that there is more of those that were `touched`.

    An identity is in one merge at most; what follows from a merge comes with the next round. The older number stays.
    """
    people.describe()
    own = np.array([number for number in sorted(set(touched)) if number in people.identities], np.int64)
    if not len(own) or len(people) < 2:
        return []
    looks = people.identities.looks(own)
    unit: F32 = looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), np.float32(1e-6))
    numbers = people.nearest(unit, _NEAREST)
    similarities = rounded(looks @ people.identities.looks(numbers).T)
    found = _probable(people, _alike(people, own, numbers, similarities))
    done: set[GlobalId] = set()
    chosen = []
    for revision in sorted(found, key=lambda each: (-each.confidence, each.to_id, each.from_id)):
        if not done & {revision.to_id, revision.from_id}:
            done |= {revision.to_id, revision.from_id}
            chosen.append(revision)
    return chosen


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Two identities each, as columns (P,) in the order of `own` and then of `others`."""

    own: I64
    others: I64
    similarities: F64
    looks: F64  # log-odds

    def some(self, chosen: Bools) -> _Pairs:
        return _Pairs(self.own[chosen], self.others[chosen], self.similarities[chosen], self.looks[chosen])


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Who may be one person with one identity, as columns (K,), K > 0; their numbers ascend."""

    own: GlobalId
    numbers: I64
    similarities: F64
    looks: F64  # log-odds, as are the next
    ways: F64

    @property
    def odds(self) -> F64:
        return self.looks + self.ways

    @property
    def best(self) -> int:
        """The column of the most probable one."""
        return int(self.odds.argmax())


def _alike(people: People, own: I64, numbers: I64, similarities: F64) -> _Pairs:
    """For each of the identities `own` those of `numbers` that look rather like it than like strangers."""
    is_near = similarities >= people.calibration.least_alike
    if len(many := np.flatnonzero(is_near.sum(axis=1) > _MOST_LOOKED_AT)):
        is_near[many] = _are_most_alike(similarities[many])
    rows, columns = np.nonzero(is_near & (numbers != own[:, None]))
    near = similarities[rows, columns]
    looks = people.look_odds(numbers[columns], near, own[rows])
    return _Pairs(own[rows], numbers[columns], near, looks).some(looks >= 0.0)


def _are_most_alike(similarities: F64) -> Bools:
    """(M, C) the `_MOST_LOOKED_AT` highest of each row, which has as many or more; of equals the first."""
    least = np.partition(similarities, -_MOST_LOOKED_AT, axis=1)[:, -_MOST_LOOKED_AT, None]
    is_above, is_equal = similarities > least, similarities == least
    room = _MOST_LOOKED_AT - is_above.sum(axis=1, keepdims=True)
    found: Bools = is_above | (is_equal & (np.cumsum(is_equal, axis=1) <= room))
    return found


def _may_be_one(people: People, pairs: _Pairs, spans: Mapping[GlobalId, Spans]) -> Bools:
    """(P,) whether a pair is among the `_MOST` most alike of its own, and neither law nor place keeps it apart."""
    chosen = np.zeros(len(pairs.own), np.bool_)
    order = np.lexsort((-pairs.looks, pairs.own))
    chosen[order] = ranks(pairs.own[order]) < _MOST
    for place in np.flatnonzero(chosen).tolist():
        own, other = GlobalId(int(pairs.own[place])), GlobalId(int(pairs.others[place]))
        mine, theirs = spans[own], spans[other]
        is_forbidden = other in people.laws.forbidden(own)
        chosen[place] = len(mine) and len(theirs) and not is_forbidden and not mine.meets(theirs)
    return chosen


def _probable(people: People, alike: _Pairs) -> list[Revision]:
    """Each identity's merge with whoever is most probably the same person, where that is probable enough."""
    involved = np.unique(np.concatenate([alike.own, alike.others])).tolist()
    spans = people.tracks.spans_of(list(map(GlobalId, involved)))
    pairs = alike.some(_may_be_one(people, alike, spans))
    if not len(pairs.own):
        return []
    own, others = ([spans[GlobalId(number)] for number in side.tolist()] for side in (pairs.own, pairs.others))
    candidates = _by_own(pairs, walk_odds(people, own, others))
    least = max(people.least_probability, 1.0 - _MORE_WRONG * people.config.false_match_budget)
    # Rivals would only take away from that.
    hopeful = [each for each in candidates if 1.0 / (1.0 + np.exp(-each.odds[each.best])) >= least]
    found = []
    for each, unlike in zip(hopeful, _unlike_the_best(people, hopeful), strict=True):
        rivals = _rivals(people, each, unlike, spans)
        if (revision := _merge_of(people, each, rivals, spans, least)) is not None:
            found.append(revision)
    return found


def _by_own(pairs: _Pairs, ways: F64) -> Iterator[_Candidates]:
    """Of pairs (P,), P > 0."""
    own, begins = np.unique(pairs.own, return_index=True)
    ends = [*begins[1:].tolist(), len(pairs.own)]
    for number, begin, end in zip(own.tolist(), begins.tolist(), ends, strict=True):
        rows = slice(begin, end)
        yield _Candidates(GlobalId(number), pairs.others[rows], pairs.similarities[rows], pairs.looks[rows], ways[rows])


def _merge_of(
    people: People, seen: _Candidates, rivals: Bools, spans: Mapping[GlobalId, Spans], least: float
) -> Revision | None:
    """A merge with whoever is most probably the same person, if that is probable enough beside the rivals."""
    best = seen.best
    shares, new = probabilities(np.where(rivals, seen.odds, -np.inf))
    share = float(shares[best])
    if share < least:
        return None
    other = GlobalId(int(seen.numbers[best]))
    candidate = CandidateEvidence(
        global_id=other,
        camera_id=people.identities.last_seen(other)[1],
        similarity=float(seen.similarities[best]),
        appearance_log_odds=float(seen.looks[best]),
        gap_s=gap_s(spans[seen.own], spans[other]),
        transit_log_odds=float(seen.ways[best]),
        probability=share,
    )
    told = Evidence(
        calibration=people.calibration.number, candidates=(candidate,), new_probability=float(new), threshold=least
    )
    return _merge(min(seen.own, other), max(seen.own, other), candidate, told)


def _merge(to_id: GlobalId, from_id: GlobalId, seen: CandidateEvidence, told: Evidence) -> Revision:
    reason = (
        f"persons {to_id} and {from_id} are one: {seen.similarity:.2f} alike (log-odds "
        f"{seen.appearance_log_odds:+.1f}), {seen.gap_s:.0f} s apart ({seen.transit_log_odds:+.1f}): "
        f"{seen.probability:.0%} sure"
    )
    return Revision(IdentityEventKind.MERGED, from_id, to_id, seen.probability, reason, evidence=told)


def _unlike_the_best(people: People, seen: Sequence[_Candidates]) -> list[Bools]:
    """Of each the candidates (K,) who rather are not one person with the best, by their looks alone."""
    similarities, bests = [np.zeros(0)], [np.zeros(0, np.int64)]
    for each in seen:
        looks = people.identities.looks(each.numbers)
        similarities.append(rounded(looks @ looks[each.best]))
        bests.append(np.full(len(looks), each.numbers[each.best]))
    numbers = np.concatenate([np.zeros(0, np.int64), *(each.numbers for each in seen)])
    odds = people.look_odds(numbers, np.concatenate(similarities), np.concatenate(bests))
    return np.split(odds < 0.0, np.cumsum([len(each.numbers) for each in seen]))[: len(seen)]


def _rivals(people: People, seen: _Candidates, unlike: Bools, spans: Mapping[GlobalId, Spans]) -> Bools:
    """(K,) the best candidate, and those that cannot be one person with it: by law, by their looks or because they
    met."""
    chosen = GlobalId(int(seen.numbers[seen.best]))
    forbidden = people.laws.forbidden(chosen)
    rivals: Bools = unlike | np.array([number in forbidden for number in seen.numbers.tolist()])
    odds = seen.odds
    for column in np.flatnonzero((odds > odds[seen.best] - _NO_RIVAL) & ~rivals).tolist():
        rivals[column] = spans[chosen].meets(spans[GlobalId(int(seen.numbers[column]))])
    rivals[seen.best] = True
    return rivals
