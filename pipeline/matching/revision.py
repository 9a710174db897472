"""Second thoughts, pure: identities that turn out to be one person, or two, now that more has been seen of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F32, F64, I64, GlobalId, IdentityEventKind
from pipeline.decisions import CandidateEvidence, Evidence, Revision
from pipeline.interfaces import GalleryRows
from pipeline.matching.assignment import TRACK_CONFIDENCE
from pipeline.matching.evidence import LOOK_LIMIT, TIME_LIMIT, Bools, TrackKey, believed, probabilities, rounded
from pipeline.matching.people import People, tracks_of
from pipeline.matching.tracks import Spans

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
    least = people.least_probability
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
class Clash:
    """Two tracks of one identity that were in one camera at the same moment."""

    global_id: GlobalId
    leaving: TrackKey  # the one that began later
    staying: TrackKey


def clashes(people: People, tracks: Sequence[TrackKey]) -> list[Clash]:
    """Where the hard rule does not hold for some tracks, now that they have gone on.

    A track that was cut into pieces meets a short one that came, and joined, between two of its pieces. A track leaves
    once, whomever it clashes with. Whoever began first leaves first: those who clash with him alone need not follow.
    """
    found: dict[TrackKey, Clash] = {}
    for track in tracks:
        for other in people.tracks.clashing(track):
            leaving, staying = sorted((track, other), key=people.tracks.began, reverse=True)
            global_id = people.tracks.identity(leaving)
            if global_id is not None:
                found.setdefault(leaving, Clash(global_id, leaving, staying))
    return [found[leaving] for leaving in sorted(found, key=people.tracks.began)]


def parting(people: People, clash: Clash, rows: GalleryRows, new_id: GlobalId) -> Revision | None:
    """The track that came later becomes somebody new; None where a correction binds it, or nothing is left to part.

    `rows` is what the person has.
    """
    names = dict(zip(rows.tracklet_ids, tracks_of(rows), strict=True))
    leaving = frozenset(name for name, track in names.items() if track == clash.leaving)
    staying = frozenset(names) - leaving
    if not leaving or not staying or people.laws.inseparable(leaving) & staying:
        return None
    camera_id, _, number = clash.leaving
    return Revision(
        kind=IdentityEventKind.SPLIT,
        from_id=clash.global_id,
        to_id=new_id,
        confidence=TRACK_CONFIDENCE,
        reason=(
            f"track {number} of {camera_id} is not person {clash.global_id}, who was there in track {clash.staying[2]} "
            "at the same time"
        ),
        tracklet_ids=tuple(name for name in rows.tracklet_ids if name in leaving),
        is_new=True,
    )


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


@dataclass(frozen=True, slots=True)
class _Way:
    """From one identity to another, between the two of their tracks that lie closest together in time."""

    odds: float
    gap_s: float


def _best(people: People, seen: _Alike, least: float) -> Revision | None:
    """A merge with whoever is most probably the same person, if that is probable enough."""
    global_id, numbers, similarities, looks = seen.global_id, seen.numbers, seen.similarities, seen.looks
    mine = people.tracks.spans(global_id)
    if not len(mine):
        return None
    odds = np.full(len(numbers), -np.inf)
    ways: dict[int, _Way] = {}
    least_odds = float(np.log(least / (1.0 - least)))
    forbidden = people.laws.forbidden(global_id)
    best_way = min(people.calibration.transit.best, TIME_LIMIT)
    alike = np.flatnonzero(looks >= least_odds - best_way)
    for column in alike[np.argsort(-looks[alike], kind="stable")][:_MOST].tolist():
        theirs = people.tracks.spans(GlobalId(int(numbers[column])))
        if len(theirs) and int(numbers[column]) not in forbidden and not mine.meets(theirs):
            ways[column] = _way(people, mine, theirs)
            odds[column] = looks[column] + ways[column].odds
    if not ways:
        return None
    best = int(odds.argmax())
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


def _way(people: People, mine: Spans, theirs: Spans) -> _Way:
    forth = theirs.started_at[None] - mine.ended_at[:, None]
    back = mine.started_at[:, None] - theirs.ended_at[None]
    row, column = np.unravel_index(np.abs(np.maximum(forth, back)).argmin(), forth.shape)
    cameras = people.tracks.camera_ids
    here = people.calibration.place(cameras[mine.cameras[row]])
    there = people.calibration.place(cameras[theirs.cameras[column]])
    is_forth = forth[row, column] >= back[row, column]
    gap_s = float(max(forth[row, column], back[row, column]))
    before, after = (here, there) if is_forth else (there, here)
    odds = people.calibration.transit.evidence(np.array([before], np.int64), after, np.array([gap_s]))
    return _Way(float(believed(odds, len(people))[0]), gap_s)
