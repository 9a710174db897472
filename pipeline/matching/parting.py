"""Second thoughts, pure: one identity that turns out to be two people, by where they were or by how they look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F32, F64, I64, GlobalId, IdentityEventKind
from pipeline.decisions import Revision
from pipeline.kept import GalleryRows
from pipeline.matching.assignment import TRACK_CONFIDENCE
from pipeline.matching.evidence import LOOK_LIMIT, WALK_LIMIT, Bools, TrackKey
from pipeline.matching.exemplars import of_one_size
from pipeline.matching.looks import look_odds
from pipeline.matching.people import People, tracks_of
from pipeline.matching.walks import Walk, walk

_ROUNDING = 1e-3  # more than the same scores differ when they are computed for one identity or for many


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
    camera_id, _, number = clash.leaving
    reason = (
        f"track {number} of {camera_id} is not person {clash.global_id}, who was there in track {clash.staying[2]} "
        "at the same time"
    )
    return _split(people, rows, frozenset({clash.leaving}), clash.global_id, new_id, TRACK_CONFIDENCE, reason)


@dataclass(frozen=True, eq=False)
class Division:
    """The exemplars of one identity, as the two groups that look least alike."""

    global_id: GlobalId
    sides: Mapping[TrackKey, bool]  # of each track that has an exemplar, whether it is in the first group
    lean: F32  # (D,) from the second group to the first
    score: float  # mean of the pairs between the groups; see `look_scores`
    look_odds: float  # log-odds of one person


def doubtful(people: People, global_ids: Sequence[GlobalId]) -> list[GlobalId]:
    """Those of some identities whose exemplars are so little alike that there may be a `division`; most have none.

    Between two groups of N exemplars are N - 1 pairs or more: their mean is no lower than that of the lowest N - 1.
    """
    calibration = people.calibration
    looks, places, counts = people.exemplar_looks(global_ids)
    found: list[GlobalId] = []
    for groups, members in of_one_size(counts):
        size = members.shape[1]
        if size == 1:
            continue
        one, other = np.triu_indices(size, 1)
        similarities = (looks[members] @ looks[members].transpose(0, 2, 1))[:, one, other]
        pairs = places[members][:, one], places[members][:, other]
        scores = (similarities - calibration.strangers_mean[pairs]) / calibration.strangers_deviation[pairs]
        lowest = np.sort(scores, axis=1)[:, : size - 1].mean(axis=1)
        may_part = _leave_room(people, lowest - _ROUNDING, np.full(len(groups), size))
        found += [global_ids[place] for place in groups[may_part].tolist()]
    return sorted(found)


def division(people: People, global_id: GlobalId) -> Division | None:
    """Where an identity would part, if its looks leave room for two people; None where they do not, or where what is
    remembered of its ways is enough to tell that it is one person."""
    own = [exemplar.track for exemplar in people.exemplars.of(global_id)]
    tracks = sorted(set(own))
    if len(tracks) < 2:
        return None
    calibration = people.calibration
    looks, places, _ = people.exemplar_looks([global_id])
    scores = calibration.scores((looks @ looks.T).astype(np.float64), places, places)
    numbers = {track: number for number, track in enumerate(tracks)}
    member = np.zeros((len(tracks), len(own)))
    member[[numbers[track] for track in own], np.arange(len(own))] = 1.0
    alike = _between(member, scores)
    if not _leaves_room(people, alike.min(), len(own)):
        return None
    is_first = _two_groups(alike)
    first = member[is_first].sum(axis=0) > 0
    score = float(scores[np.ix_(first, ~first)].mean())
    if not _leaves_room(people, score, len(own)):
        return None
    odds = float(look_odds(calibration.curves, np.array([score]), np.array([float(first.sum() * (~first).sum())]))[0])
    found = Division(
        global_id,
        dict(zip(tracks, is_first.tolist(), strict=True)),
        looks[first].mean(axis=0) - looks[~first].mean(axis=0),
        score,
        max(odds, -LOOK_LIMIT),
    )
    return found if _may_part(people, found) else None


def divided(people: People, found: Division, rows: GalleryRows, new_id: GlobalId) -> Revision | None:
    """The smaller group becomes somebody new; None where they may well be one person, or a correction binds them.

    One person they are no more where that is less probable than `false_match_budget`. `rows` is what the person has;
    tracks without exemplars go with the group that they resemble.
    """
    tracks = tracks_of(rows)
    places = np.array([people.calibration.place(track[0]) for track in tracks], np.int64)
    leans: defaultdict[TrackKey, list[float]] = defaultdict(list)
    looks = people.calibration.looks(rows.vectors.astype(np.float32), places)
    for track, lean in zip(tracks, (looks @ found.lean).tolist(), strict=True):
        leans[track].append(lean)
    is_first = {track: found.sides.get(track, float(np.mean(own)) > 0) for track, own in leans.items()}
    way = _way_between(people, found.global_id, is_first)
    if way is None or (one := _one_person(found, way)) >= people.config.false_match_budget:
        return None
    is_smaller = sum(map(is_first.__getitem__, tracks)) * 2 <= len(tracks)
    leaving = frozenset(track for track, first in is_first.items() if first == is_smaller)
    reason = (
        f"person {found.global_id} is two, who look alike with log-odds {found.look_odds:+.1f} and would have walked "
        f"so with {way.odds:+.1f}: {1.0 - one:.0%} sure"
    )
    return _split(people, rows, leaving, found.global_id, new_id, 1.0 - one, reason)


def _may_part(people: People, found: Division) -> bool:
    """False where memory alone tells that they may well be one person, because each of the tracks has an exemplar."""
    if any(track not in found.sides for track in people.tracks.tracks(found.global_id)):
        return True
    way = _way_between(people, found.global_id, found.sides)
    return way is not None and _one_person(found, way) < people.config.false_match_budget


def _way_between(people: People, global_id: GlobalId, is_first: Mapping[TrackKey, bool]) -> Walk | None:
    """How one person would have walked between two groups of tracks; None where one of them is empty."""
    spans = people.tracks.spans(global_id)
    mask = np.array([is_first.get(track, True) for track in people.tracks.tracks(global_id)], np.bool_)
    return None if mask.all() or not mask.any() else walk(people, spans.some(mask), spans.some(~mask))


def _one_person(found: Division, way: Walk) -> float:
    """How probable it is that both groups are one person."""
    return float(1.0 / (1.0 + np.exp(-found.look_odds - way.odds)))


def _leaves_room(people: People, score: float, exemplars: int) -> bool:
    return bool(_leave_room(people, np.array([score]), np.array([exemplars]))[0])


def _leave_room(people: People, scores: F64, exemplars: I64) -> Bools:
    """Whether two groups with such mean scores (N,) could be two people, however they were divided and walked."""
    budget = people.config.false_match_budget
    curves = people.calibration.curves
    pairs = np.concatenate([np.ones(len(scores)), exemplars**2 / 4.0])
    odds = look_odds(curves, np.tile(scores, 2), pairs).reshape(2, -1).min(axis=0)
    room: Bools = odds - WALK_LIMIT < np.log(budget / (1.0 - budget))
    return room


def _two_groups(alike: F64) -> Bools:
    """(N,) whether each of N items, N > 1, is in the first of the two groups that are least alike on average: those
    most alike are joined until two are left."""
    member = np.eye(len(alike))
    while len(member) > 2:
        near = _between(member, alike)
        np.fill_diagonal(near, -np.inf)
        one, other = divmod(int(near.argmax()), len(near))
        member[one] += member[other]
        member = member[np.arange(len(member)) != other]
    first: Bools = member[0] > 0.0
    return first


def _between(member: F64, scores: F64) -> F64:
    """(G, G) means of the scores (N, N) of all pairs between groups, whose members (G, N) are 1."""
    held = member.sum(axis=1)
    means: F64 = member @ scores @ member.T / np.outer(held, held)
    return means


def _split(
    people: People,
    rows: GalleryRows,
    leaving: frozenset[TrackKey],
    global_id: GlobalId,
    new_id: GlobalId,
    confidence: float,
    reason: str,
) -> Revision | None:
    """Some tracks become somebody new; None where a correction binds them, or where nobody would leave or stay."""
    named = dict(zip(rows.tracklet_ids, tracks_of(rows), strict=True))
    going = frozenset(name for name, track in named.items() if track in leaving)
    staying = frozenset(named) - going
    if not going or not staying or people.laws.inseparable(going) & staying:
        return None
    return Revision(
        kind=IdentityEventKind.SPLIT,
        from_id=global_id,
        to_id=new_id,
        confidence=confidence,
        reason=reason,
        tracklet_ids=tuple(name for name in rows.tracklet_ids if name in going),
        is_new=True,
    )
