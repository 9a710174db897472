"""Second thoughts, pure: identities that turn out to be one person, now that more has been seen of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F32, F64, I64, GlobalId, IdentityEventKind
from pipeline.decisions import CandidateEvidence, Evidence, Revision
from pipeline.matching.evidence import LOOK_LIMIT, Bools, probabilities, rounded
from pipeline.matching.people import People
from pipeline.matching.walks import Walk, walk

# So many times the budget may be wrong of the merges: one is thought of again with every piece that comes, until it
# is made for good, and among many thoughts is a mistaken one.
_MORE_WRONG = 2.0
_NO_RIVAL = 6.0  # log-odds behind the best
_MOST_LOOKED_AT, _MOST = 64, 8  # identities whose looks, and whose ways, are weighed against one


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
    numbers = people.nearest(unit)
    similarities = rounded(looks @ people.identities.looks(numbers).T)
    least = max(people.least_probability, 1.0 - _MORE_WRONG * people.config.false_match_budget)
    found = [
        revision for each in _alike(people, own, numbers, similarities) if (revision := _best(people, each, least))
    ]
    done: set[GlobalId] = set()
    chosen = []
    for revision in sorted(found, key=lambda each: (-each.confidence, each.to_id, each.from_id)):
        if not done & {revision.to_id, revision.from_id}:
            done |= {revision.to_id, revision.from_id}
            chosen.append(revision)
    return chosen


@dataclass(frozen=True, slots=True)
class _Alike:
    """Identities (K,) that look rather like one identity than like strangers."""

    global_id: GlobalId
    numbers: I64
    similarities: F64
    looks: F64  # log-odds


def _alike(people: People, own: I64, numbers: I64, similarities: F64) -> Iterator[_Alike]:
    """For each of the identities `own` those of `numbers` that resemble it; nothing for who resembles nobody."""
    near = _most_alike(similarities)
    rows = np.arange(len(own))[:, None]
    looks = _look_odds(people, numbers[near], similarities[rows, near], own)
    is_alike = (looks >= 0.0) & (numbers[near] != own[:, None])
    for row in np.flatnonzero(is_alike.any(axis=1)).tolist():
        kept = is_alike[row]
        columns = near[row, kept]
        yield _Alike(GlobalId(int(own[row])), numbers[columns], similarities[row, columns], looks[row, kept])


def _most_alike(similarities: F64) -> I64:
    """(M, K) the columns of the highest of each row, ascending; of equals the first."""
    count = min(_MOST_LOOKED_AT, similarities.shape[1])
    least = np.partition(similarities, -count, axis=1)[:, -count, None]
    is_above, is_equal = similarities > least, similarities == least
    room = count - is_above.sum(axis=1, keepdims=True)
    columns = np.nonzero(is_above | (is_equal & (np.cumsum(is_equal, axis=1) <= room)))[1]
    return columns.reshape(-1, count)


def _best(people: People, seen: _Alike, least: float) -> Revision | None:
    """A merge with whoever is most probably the same person, if that is probable enough."""
    global_id, numbers, similarities, looks = seen.global_id, seen.numbers, seen.similarities, seen.looks
    mine = people.tracks.spans(global_id)
    if not len(mine):
        return None
    odds = np.full(len(numbers), -np.inf)
    ways: dict[int, Walk] = {}
    forbidden = people.laws.forbidden(global_id)
    for column in np.argsort(-looks, kind="stable")[:_MOST].tolist():
        theirs = people.tracks.spans(GlobalId(int(numbers[column])))
        if len(theirs) and int(numbers[column]) not in forbidden and not mine.meets(theirs):
            ways[column] = walk(people, mine, theirs)
            odds[column] = looks[column] + ways[column].odds
    if not ways:
        return None
    best = int(odds.argmax())
    if 1.0 / (1.0 + np.exp(-odds[best])) < least:
        return None  # rivals would only take away from that
    weighed = np.array(sorted(ways), np.int64)
    rivals = _rivals(people, numbers[weighed], int(np.flatnonzero(weighed == best)[0]), odds[weighed])
    shares, new = probabilities(np.where(rivals, odds[weighed], -np.inf))
    share = float(shares[weighed == best][0])
    if share < least:
        return None
    other = GlobalId(int(numbers[best]))
    candidate = CandidateEvidence(
        global_id=other,
        camera_id=people.identities.last_seen(other)[1],
        similarity=float(similarities[best]),
        appearance_log_odds=float(looks[best]),
        gap_s=ways[best].gap_s,
        transit_log_odds=ways[best].odds,
        probability=share,
    )
    told = Evidence(
        calibration=people.calibration.number, candidates=(candidate,), new_probability=float(new), threshold=least
    )
    return _merge(min(global_id, other), max(global_id, other), candidate, told)


def _merge(to_id: GlobalId, from_id: GlobalId, seen: CandidateEvidence, told: Evidence) -> Revision:
    reason = (
        f"persons {to_id} and {from_id} are one: {seen.similarity:.2f} alike (log-odds "
        f"{seen.appearance_log_odds:+.1f}), {seen.gap_s:.0f} s apart ({seen.transit_log_odds:+.1f}): "
        f"{seen.probability:.0%} sure"
    )
    return Revision(IdentityEventKind.MERGED, from_id, to_id, seen.probability, reason, evidence=told)


def _look_odds(people: People, numbers: I64, similarities: F64, own: I64) -> F64:
    """Log-odds from looks alone, (M, K), that identities `own` (M,) are those of the `numbers` (M, K)."""
    calibration, count = people.calibration, numbers.shape[1]
    places = [calibration.place(people.identities.last_seen(GlobalId(number))[1]) for number in own.tolist()]
    others = people.identities.exemplars(own).sum(axis=1)
    odds = calibration.look_odds(
        similarities.ravel(),
        people.identities.exemplars(numbers.ravel()),
        np.repeat(np.array(places, np.int64), count),
        np.repeat(others, count).astype(np.float64),
    )
    return odds.clip(-LOOK_LIMIT, LOOK_LIMIT).reshape(numbers.shape)


def _rivals(people: People, numbers: I64, best: int, odds: F64) -> Bools:
    """The best candidate, and those that cannot be one person with it: by law, by their looks or because they met."""
    chosen = GlobalId(int(numbers[best]))
    similar = rounded(people.identities.looks(numbers) @ people.identities.looks(numbers[best : best + 1])[0])
    rivals: Bools = _look_odds(people, numbers[None], similar[None], numbers[best : best + 1])[0] < 0
    rivals |= np.isin(numbers, list(people.laws.forbidden(chosen)))
    theirs = people.tracks.spans(chosen)
    for column in np.flatnonzero((odds > odds[best] - _NO_RIVAL) & ~rivals).tolist():
        rivals[column] = theirs.meets(people.tracks.spans(GlobalId(int(numbers[column]))))
    rivals[best] = True
    return rivals
