"""Who has come back unrecognised: what looks and ways say of identities that begin after others have ended.

Ways and times learnt from joins alone can starve: a matcher that joins nobody learns that everybody is a stranger, and
joins nobody. So those whom it did not join count as well, each as far as he is probably one of those seen before: by
expectation and maximisation, as in Dempster, Laird and Rubin (1977).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F64, I64
from pipeline.matching.evidence import LOOK_LIMIT, rounded
from pipeline.matching.people import People
from pipeline.matching.tracks import Spans
from pipeline.matching.transit import TransitTimes, bin_of, count_transits

_NEWEST = 2048  # identities: more would take longer than they would tell
_ROUNDS = 8
_FIRST_ODDS = -3.0  # of every way, as long as none is known


@dataclass(frozen=True, eq=False)
class _Ends:
    """Identities as columns (K,): the rows of their first and their last track."""

    first: I64
    last: I64


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Of two identities each, as places (P,) among `_Ends`, the one that ended and the other that began after it."""

    ended: I64
    began: I64
    looks: F64  # log-odds of one person


def expected_transits(people: People, spans: Spans, places: I64, camera_count: int) -> TransitTimes:
    """How people go, from tracks (N,) by the time of one clock, before cameras at `places`."""

    def counted(newness: F64) -> TransitTimes:
        return count_transits(places, spans.global_ids, spans.started_at, spans.ended_at, newness, camera_count)

    ends = _newest_ends(people, spans, places)
    pairs = _alike(people, spans, places, ends)
    leaving, coming = ends.last[pairs.ended], ends.first[pairs.began]
    way = places[leaving], places[coming], bin_of(spans.started_at[coming] - spans.ended_at[leaving])
    found, ways = counted(spans.newness), np.full(len(pairs.looks), _FIRST_ODDS)
    for _ in range(_ROUNDS if len(ways) else 0):
        shares = _shares(pairs, ways, len(ends.first))
        newness = spans.newness.copy()
        newness[ends.first] = 1.0 - np.bincount(pairs.began, shares, len(ends.first))
        found = counted(newness)
        np.add.at(found.gaps, way, shares)
        ways = found.log_odds[way]
    return found


def _newest_ends(people: People, spans: Spans, places: I64) -> _Ends:
    """Of identities whose looks are remembered, in the order in which they began."""
    order = np.lexsort((places, spans.started_at, spans.global_ids))
    owners = spans.global_ids[order]
    begins = np.flatnonzero(np.diff(owners, prepend=-1))
    first, last = order[begins], order[np.append(begins[1:], len(order))[: len(begins)] - 1]
    is_known = np.array([number in people.identities for number in owners[begins].tolist()], np.bool_)
    kept = np.flatnonzero(is_known)
    kept = kept[np.argsort(spans.started_at[first[kept]], kind="stable")[-_NEWEST:]]
    return _Ends(first[kept], last[kept])


def _alike(people: People, spans: Spans, places: I64, ends: _Ends) -> _Pairs:
    """Those who look rather like one person than like two, and were not in one camera at one moment."""
    people.describe()
    numbers = spans.global_ids[ends.first]
    looks = people.identities.looks(numbers)
    similarities = rounded(looks @ looks.T)
    may_be = similarities >= people.calibration.least_alike
    may_be &= spans.started_at[ends.last][:, None] < spans.started_at[ends.first]
    is_elsewhere = places[ends.last][:, None] != places[ends.first]
    may_be &= is_elsewhere | (spans.ended_at[ends.last][:, None] < spans.started_at[ends.first])
    ended, began = np.nonzero(may_be)
    odds = people.look_odds(numbers[ended], similarities[ended, began], numbers[began])
    return _Pairs(ended[odds >= 0.0], began[odds >= 0.0], odds[odds >= 0.0])


def _shares(pairs: _Pairs, ways: F64, identities: int) -> F64:
    """(P,) how probably the one went on as the other. Nobody comes from two, and nobody goes on as two."""
    weights = np.exp((pairs.looks + ways).clip(-LOOK_LIMIT, LOOK_LIMIT))
    of_ended = np.bincount(pairs.ended, weights, identities)[pairs.ended]
    of_began = np.bincount(pairs.began, weights, identities)[pairs.began]
    shares: F64 = weights / (1.0 + np.maximum(of_ended, of_began))
    return shares
