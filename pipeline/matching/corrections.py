"""What a correction does to identities: revisions, and the two sides that it binds or keeps apart. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from pipeline.contracts import GlobalId, IdentityEvent, IdentityEventKind, TrackletId, tracklet_parts
from pipeline.decisions import Applied, Correction, CorrectionKind, Revision, WhoIsWho
from pipeline.matching.laws import Group, Laws

_TrackName = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Effect:
    """What to write for a correction, all in one transaction."""

    revisions: tuple[Revision, ...]
    applied: Applied


def effect_of(
    correction: Correction, who: WhoIsWho, laws: Laws | None = None, undone: Sequence[IdentityEvent] = ()
) -> Effect:
    """What follows from a correction on what is so now.

    `who` tells of the persons and tracklets that it names; of an undo it tells of those in `undone`, the events that
    the undone correction led to. `laws` are those of the other corrections in force. Whatever has changed since the
    correction was made is left as it is, and said.
    """
    request = correction.request
    gone = [f"person {name}" for name in request.global_ids if name not in who.current]
    gone += [f"tracklet {name}" for name in request.tracklet_ids if name not in who.identity]
    if gone:
        return _ruled(correction, f"nothing: {gone[0]} is not known any more")
    return _EFFECTS[request.kind](correction, who, laws or Laws(), undone)


def _merge(correction: Correction, who: WhoIsWho, *_: object) -> Effect:
    first, second = (who.current[named] for named in correction.request.global_ids)
    return _united(correction, who, first, second)


def _same(correction: Correction, who: WhoIsWho, *_: object) -> Effect:
    one, other = correction.request.tracklet_ids
    first, second = who.identity[one], who.identity[other]
    if first == second:
        return _ruled(correction, f"both are person {first} already, and stay together", (one,), (other,))
    return _united(correction, who, first, second)


def _united(correction: Correction, who: WhoIsWho, first: GlobalId, second: GlobalId) -> Effect:
    staying, coming = _members(who, first), _members(who, second)
    if first == second:
        return _ruled(correction, f"they are person {first} already, and stay together", staying)
    merge = Revision(IdentityEventKind.MERGED, second, first, 1.0, reason_of(correction))
    told = f"{_tracklets(len(coming))} went from person {second} to person {first}"
    return _ruled(correction, told, staying, coming, revisions=(merge,))


def _split(correction: Correction, who: WhoIsWho, *_: object) -> Effect:
    person = who.current[correction.request.global_ids[0]]
    meant = {name for name in correction.request.tracklet_ids if who.identity[name] == person}
    leaving = _with_later_pieces(meant, person, correction.after_event, who)
    staying = tuple(name for name in _members(who, person) if name not in set(leaving))
    elsewhere = len(correction.request.tracklet_ids) - len(meant)
    but = f"; left alone, because not of person {person}: {_tracklets(elsewhere)}" if elsewhere else ""
    if not leaving:
        return _ruled(correction, f"nothing: none of them belongs to person {person}")
    if not staying:
        return _ruled(correction, f"nothing: these are all tracklets of person {person}{but}")
    return _parted(correction, who, person, leaving, staying, but)


def _not_same(correction: Correction, who: WhoIsWho, laws: Laws, *_: object) -> Effect:
    """The second one leaves with its whole track and all that is bound to it; of one track, from where it stands away
    from the first."""
    first, second = correction.request.tracklet_ids
    person, other = who.identity[first], who.identity[second]
    leaving, staying = _pieces(who, second, other), _pieces(who, first, person)
    if _track(first) == _track(second):
        is_later = _sequence(second) > _sequence(first)
        leaving = tuple(n for n in leaving if n == second or (_sequence(n) > _sequence(second)) == is_later)
        staying = tuple(name for name in staying if name not in leaving)
    if person != other:
        return _ruled(correction, f"persons {person} and {other} stay two people", leaving, staying)
    bound = laws.inseparable(frozenset(leaving), frozenset(staying))
    leaving = tuple(name for name in _members(who, person) if name in bound)
    return _parted(correction, who, person, leaving, staying)


def _parted(
    correction: Correction,
    who: WhoIsWho,
    person: GlobalId,
    leaving: tuple[TrackletId, ...],
    staying: tuple[TrackletId, ...],
    but: str = "",
) -> Effect:
    split = Revision(
        IdentityEventKind.SPLIT, person, who.next_id, 1.0, reason_of(correction), tracklet_ids=leaving, is_new=True
    )
    told = f"{_tracklets(len(leaving))} went from person {person} to the new person {who.next_id}{but}"
    return _ruled(correction, told, leaving, staying, revisions=(split,))


def _undo(correction: Correction, who: WhoIsWho, laws: Laws, undone: Sequence[IdentityEvent]) -> Effect:
    """What was moved goes back, with later pieces of the same tracks, if it is still where it was put."""
    applied = Applied(correction.number, "the rule is lifted, nothing was moved", undoes=correction.request.undoes)
    if not undone:
        return Effect((), applied)
    home, put = _home(undone[0], who), who.current.get(GlobalId(undone[0].global_id))
    moved = {TrackletId(name) for event in undone for name in event.tracklet_ids}
    there = {name for name in moved if put is not None and who.identity.get(name) == put != home}
    back = _with_later_pieces(there, put, undone[-1].event_id, who) if put is not None else ()
    back = tuple(name for name in back if _may_leave(name, frozenset(back), home, who, laws))
    left = sum(who.identity.get(name) != home and name not in back for name in moved)
    told = f"{_tracklets(len(back))} went back" if back else "nothing went back"
    told += f"; left where they are by now: {_tracklets(left)}" if left else ""
    revisions = (_moved_back(back, put, home, who, reason_of(correction)),) if back and put is not None else ()
    return Effect(revisions, replace(applied, outcome=told))


def _may_leave(name: TrackletId, leaving: Group, home: GlobalId, who: WhoIsWho, laws: Laws) -> bool:
    """Whether no other correction binds it to somebody who stays, or keeps it apart from somebody at home."""
    bound = {each for each in laws.inseparable(frozenset([name])) if who.identity.get(each) == who.identity[name]}
    return bound <= leaving and laws.parted_from(frozenset(bound)).isdisjoint(_members(who, home))


def _home(event: IdentityEvent, who: WhoIsWho) -> GlobalId:
    """Where the tracklets of a revision came from: a merged person gets the old number again, while somebody from whom
    they were split may have been merged since."""
    number = GlobalId(event.from_global_id or event.global_id)
    return number if event.kind is IdentityEventKind.MERGED else who.current.get(number, number)


def _moved_back(back: tuple[TrackletId, ...], put: GlobalId, home: GlobalId, who: WhoIsWho, reason: str) -> Revision:
    if len(back) == len(_members(who, put)):
        return Revision(IdentityEventKind.MERGED, put, home, 1.0, reason)
    return Revision(IdentityEventKind.SPLIT, put, home, 1.0, reason, tracklet_ids=back)


_EFFECTS: dict[CorrectionKind, Callable[[Correction, WhoIsWho, Laws, Sequence[IdentityEvent]], Effect]] = {
    CorrectionKind.MERGE: _merge,
    CorrectionKind.SPLIT: _split,
    CorrectionKind.SAME: _same,
    CorrectionKind.NOT_SAME: _not_same,
    CorrectionKind.UNDO: _undo,
}


def reason_of(correction: Correction) -> str:
    """How the events of a correction say why."""
    note = f": {correction.request.note}" if correction.request.note else ""
    return f"correction {correction.number} by {correction.request.made_by}{note}"


def _ruled(
    correction: Correction,
    outcome: str,
    one_side: tuple[TrackletId, ...] = (),
    other_side: tuple[TrackletId, ...] = (),
    revisions: tuple[Revision, ...] = (),
) -> Effect:
    return Effect(revisions, Applied(correction.number, outcome, one_side, other_side))


def _with_later_pieces(
    names: set[TrackletId], person: GlobalId, after_event: int, who: WhoIsWho
) -> tuple[TrackletId, ...]:
    """Also the pieces of the same tracks that were decided later: each goes where the piece before it goes.

    Somebody who is in view while a correction is made is not torn in two by it.
    """
    tracks = {_track(name) for name in names}
    pieces = [name for name, whose in who.identity.items() if whose == person and _track(name) in tracks]
    going = set(names)
    for _, track in groupby(sorted(pieces, key=lambda name: (_track(name), _sequence(name))), key=_track):
        is_going = False
        for name in track:
            if name in names or who.assigned_event[name] <= after_event:
                is_going = name in names
            elif is_going:
                going.add(name)
    return tuple(name for name in who.identity if name in going)


def _members(who: WhoIsWho, person: GlobalId) -> tuple[TrackletId, ...]:
    return tuple(name for name, whose in who.identity.items() if whose == person)


def _pieces(who: WhoIsWho, of: TrackletId, person: GlobalId) -> tuple[TrackletId, ...]:
    return tuple(name for name in _members(who, person) if _track(name) == _track(of))


def _track(name: TrackletId) -> _TrackName:
    return tracklet_parts(name)[:3]


def _sequence(name: TrackletId) -> int:
    return tracklet_parts(name)[3]


def _tracklets(count: int) -> str:
    return "1 tracklet" if count == 1 else f"{count} tracklets"
