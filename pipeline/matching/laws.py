"""Which laws follow from corrections, for everything that the matcher decides. Pure.

The newest word counts: a merge lifts the rules that keep those whom it merges apart, and a split those that bind whom
it parts. So the laws that hold never contradict what was done last.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

from pipeline.contracts import GlobalId, IdentityEvent, TrackletId, tracklet_parts
from pipeline.decisions import Correction, CorrectionKind

Group = frozenset[TrackletId]


class Laws:
    """What corrections forbid and demand, now and later.

    Cheap to ask: the answers are kept until a tracklet that a correction names moves.
    """

    def __init__(
        self, corrections: Sequence[Correction] = (), identity: Mapping[TrackletId, GlobalId] | None = None
    ) -> None:
        """`corrections` are those in force, in order; `identity` tells who the tracklets `named_in` them are now."""
        self._apart: list[tuple[Group, Group]] = []
        self._together: list[Group] = []
        for correction in corrections:
            self._add(correction)
        self._identity = dict(identity or {})
        self._tracks: dict[tuple[str, str, int], list[tuple[int, TrackletId]]] = {}
        for name in self._identity:
            camera_id, boot_id, track_id, sequence = tracklet_parts(name)
            self._tracks.setdefault((camera_id, boot_id, track_id), []).append((sequence, name))
        for pieces in self._tracks.values():
            pieces.sort()
        self._forbidden: dict[GlobalId, set[GlobalId]] | None = None

    def forbidden(self, global_id: GlobalId) -> frozenset[GlobalId]:
        """Identities that may neither merge with this one nor be joined by what belongs to it."""
        if self._forbidden is None:
            self._forbidden = {}
            for one, other in self._apart:
                first, second = self._identities(one), self._identities(other)
                for here, there in ((first, second), (second, first)):
                    for each in here:
                        self._forbidden.setdefault(each, set()).update(there - {each})
        return frozenset(self._forbidden.get(global_id, ()))

    def bound(self, tracklet_id: TrackletId) -> GlobalId | None:
        """The identity that a new piece of a track must get because a correction names an earlier piece of it."""
        camera_id, boot_id, track_id, sequence = tracklet_parts(tracklet_id)
        pieces = self._tracks.get((camera_id, boot_id, track_id))
        if pieces is None:
            return None
        place = bisect_right(pieces, sequence, key=lambda piece: piece[0])
        return self._identity[pieces[max(place - 1, 0)][1]]

    def inseparable(self, tracklet_ids: Group, staying: Group = frozenset()) -> Group:
        """These tracklets with all that must stay with them: a split moves all or none.

        Bonds to those who are `staying` in any case are cut, and count for nothing.
        """
        bonds = [group for group in self._together if group.isdisjoint(staying)]
        whole, is_growing = tracklet_ids, True
        while is_growing:
            before = whole
            for group in bonds:
                if not group.isdisjoint(whole):
                    whole |= group
            is_growing = whole != before
        return whole

    def parted_from(self, tracklet_ids: Group) -> Group:
        """The tracklets that may not share an identity with any of these."""
        sides = [pair for one, other in self._apart for pair in ((one, other), (other, one))]
        return frozenset[TrackletId]().union(*(there for here, there in sides if not here.isdisjoint(tracklet_ids)))

    def follow(self, events: Sequence[IdentityEvent]) -> None:
        """Take in what was committed: tracklets that moved."""
        for event in events:
            moved = [TrackletId(name) for name in event.tracklet_ids if name in self._identity]
            if moved:
                self._identity.update(dict.fromkeys(moved, GlobalId(event.global_id)))
                self._forbidden = None

    def _add(self, correction: Correction) -> None:
        one, other = frozenset(correction.one_side), frozenset(correction.other_side)
        if correction.request.kind in (CorrectionKind.MERGE, CorrectionKind.SAME):
            group = one | other
            self._apart = [pair for one, other in self._apart for pair in _without_pairs_inside(one, other, group)]
            self._together.append(group)
        else:
            self._together = [part for group in self._together for part in _cut(group, one, other)]
            self._apart.append((one, other))

    def _identities(self, group: Group) -> set[GlobalId]:
        return {self._identity[name] for name in group if name in self._identity}


def named_in(corrections: Sequence[Correction]) -> list[TrackletId]:
    """The tracklets that laws speak of."""
    return list(dict.fromkeys(name for each in corrections for name in (*each.one_side, *each.other_side)))


def _without_pairs_inside(one: Group, other: Group, group: Group) -> Iterator[tuple[Group, Group]]:
    """The pairs of (one, other) that are not both in `group`."""
    if one.isdisjoint(group) or other.isdisjoint(group):
        yield one, other
        return
    for here, there in ((one - group, other), (one & group, other - group)):
        if here and there:
            yield here, there


def _cut(group: Group, leaving: Group, staying: Group) -> Iterator[Group]:
    """What is left of a bond when some of it leave those who stay."""
    if group.isdisjoint(leaving) or group.isdisjoint(staying):
        yield group
        return
    for part in (group - leaving, group & leaving):
        if len(part) > 1:
            yield part
