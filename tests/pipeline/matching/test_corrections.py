"""What corrections do: on a model of the database that is nothing but who is who."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import GlobalId, IdentityEvent, IdentityEventKind, TrackletId, tracklet_id
from pipeline.decisions import Correction, CorrectionKind, CorrectionRequest, Revision, WhoIsWho
from pipeline.matching.corrections import Effect, effect_of
from pipeline.matching.laws import Laws


@dataclass
class Site:
    """Who is who, as the database would keep it."""

    identity: dict[TrackletId, GlobalId] = field(default_factory=dict)
    assigned_event: dict[TrackletId, int] = field(default_factory=dict)
    merged_into: dict[GlobalId, GlobalId] = field(default_factory=dict)
    events: list[IdentityEvent] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)
    last_id: int = 0
    last_event: int = 0

    def decide(self, name: TrackletId, person: int) -> TrackletId:
        self.last_event += 1
        self.identity[name], self.assigned_event[name] = GlobalId(person), self.last_event
        self.last_id = max(self.last_id, person)
        return name

    def who(self) -> WhoIsWho:
        people = [GlobalId(number) for number in range(1, self.last_id + 1)]
        current = {person: self.current(person) for person in people}
        return WhoIsWho(current, dict(self.identity), dict(self.assigned_event), GlobalId(self.last_id + 1))

    def current(self, person: GlobalId) -> GlobalId:
        while person in self.merged_into:
            person = self.merged_into[person]
        return person

    def correct(
        self, kind: CorrectionKind, people: Sequence[int] = (), tracklets: Sequence[TrackletId] = (), undoes: int = 0
    ) -> Effect:
        request = CorrectionRequest(
            kind,
            "anna",
            global_ids=tuple(GlobalId(number) for number in people),
            tracklet_ids=tuple(tracklets),
            undoes=undoes or None,
        )
        return self.apply(Correction(len(self.corrections) + 1, request, 0.0, self.last_event))

    def apply(self, correction: Correction) -> Effect:
        undone = self.corrections[correction.request.undoes - 1].event_ids if correction.request.undoes else ()
        events = [event for event in self.events if event.event_id in undone]
        effect = effect_of(correction, self.who(), self.laws(but=correction.request.undoes), events)
        before = len(self.events)
        self.revise(effect.revisions)
        applied = effect.applied
        self.corrections.append(
            Correction(
                correction.number,
                correction.request,
                0.0,
                correction.after_event,
                applied_at=1.0,
                outcome=applied.outcome,
                event_ids=tuple(event.event_id for event in self.events[before:]),
                one_side=applied.one_side,
                other_side=applied.other_side,
            )
        )
        return effect

    def revise(self, revisions: Sequence[Revision]) -> None:
        for revision in revisions:
            own = [name for name, whose in self.identity.items() if whose == revision.from_id]
            moved = own if revision.kind is IdentityEventKind.MERGED else list(revision.tracklet_ids)
            assert moved and set(moved) <= set(own)
            assert revision.is_new == (revision.to_id > self.last_id)
            self.last_id = max(self.last_id, revision.to_id)
            self.identity.update(dict.fromkeys(moved, revision.to_id))
            self.merged_into.pop(revision.to_id, None)
            if len(moved) == len(own):
                self.merged_into[revision.from_id] = revision.to_id
            self.last_event += 1
            self.events.append(
                IdentityEvent(
                    event_id=self.last_event,
                    kind=revision.kind,
                    decided_at=0.0,
                    global_id=revision.to_id,
                    from_global_id=revision.from_id,
                    tracklet_ids=tuple(moved),
                    confidence=1.0,
                    reason=revision.reason,
                )
            )

    def laws(self, but: int | None = None) -> Laws:
        undone = {but, *(each.request.undoes for each in self.corrections)}
        in_force = [
            each
            for each in self.corrections
            if each.request.kind is not CorrectionKind.UNDO and each.number not in undone
        ]
        return Laws(in_force, self.identity)


def name(track: int, sequence: int = 0, camera: str = "gate") -> TrackletId:
    return tracklet_id(camera, "b1", track, sequence)


@pytest.fixture
def site() -> Site:
    """Person 1 with tracks 1 (two pieces) and 2, person 2 with track 3."""
    site = Site()
    for place, person in ((name(1, 0), 1), (name(1, 1), 1), (name(2), 1), (name(3), 2)):
        site.decide(place, person)
    return site


def test_a_merge_keeps_the_first_number_and_says_who_said_so(site: Site) -> None:
    request = CorrectionRequest(CorrectionKind.MERGE, "anna", "same coat", (GlobalId(2), GlobalId(1)))
    effect = site.apply(Correction(12, request, 0.0, 4))
    assert set(site.identity.values()) == {2}
    assert effect.revisions[0].reason == "correction 12 by anna: same coat"
    assert effect.applied.outcome == "3 tracklets went from person 1 to person 2"


def test_a_split_takes_pieces_along_that_came_while_it_was_made(site: Site) -> None:
    request = CorrectionRequest(CorrectionKind.SPLIT, "anna", "", (GlobalId(1),), (name(1, 0), name(1, 1)))
    asked = Correction(1, request, 0.0, after_event=4)
    site.decide(name(1, 2), 1)  # between the request and the matcher's next look
    site.decide(name(2, 1), 1)
    site.apply(asked)
    assert site.identity == {
        name(1, 0): 3,
        name(1, 1): 3,
        name(1, 2): 3,
        name(2): 1,
        name(2, 1): 1,
        name(3): 2,
    }


def test_a_split_leaves_tracklets_that_are_somebody_elses_by_now(site: Site) -> None:
    effect = site.correct(CorrectionKind.SPLIT, [1], [name(2), name(3)])
    assert (site.identity[name(2)], site.identity[name(3)]) == (3, 2)
    assert "left alone, because not of person 1: 1 tracklet" in effect.applied.outcome


def test_a_person_is_not_split_into_everything_and_nothing(site: Site) -> None:
    effect = site.correct(CorrectionKind.SPLIT, [2], [name(3)])
    assert effect.revisions == () and "all tracklets of person 2" in effect.applied.outcome
    assert site.correct(CorrectionKind.SPLIT, [2], [name(1)]).revisions == ()


def test_same_unites_two_persons_and_binds_two_tracklets_of_one(site: Site) -> None:
    effect = site.correct(CorrectionKind.SAME, tracklets=[name(3), name(2)])
    assert set(site.identity.values()) == {2} and len(effect.revisions) == 1
    again = site.correct(CorrectionKind.SAME, tracklets=[name(1), name(2)])
    assert again.revisions == () and "stay together" in again.applied.outcome
    assert site.laws().inseparable(frozenset([name(1)])) == set(site.identity)


def test_not_same_parts_whole_tracks(site: Site) -> None:
    site.correct(CorrectionKind.NOT_SAME, tracklets=[name(2), name(1, 1)])
    assert [site.identity[each] for each in (name(2), name(1, 0), name(1, 1))] == [1, 3, 3]


@pytest.mark.parametrize(("first", "second", "left"), [(0, 2, {2, 3}), (3, 1, {0, 1}), (0, 1, {1, 2, 3}), (3, 0, {0})])
def test_not_same_within_a_track_cuts_it_where_the_second_stands(first: int, second: int, left: set[int]) -> None:
    site = Site()
    for sequence in range(4):
        site.decide(name(7, sequence), 1)
    site.correct(CorrectionKind.NOT_SAME, tracklets=[name(7, first), name(7, second)])
    assert {sequence for sequence in range(4) if site.identity[name(7, sequence)] == 2} == left


def test_not_same_of_two_persons_moves_nothing_and_forbids(site: Site) -> None:
    effect = site.correct(CorrectionKind.NOT_SAME, tracklets=[name(2), name(3)])
    assert effect.revisions == ()
    assert site.laws().forbidden(GlobalId(1)) == {2} and site.laws().forbidden(GlobalId(2)) == {1}


def test_an_undone_merge_gives_the_old_number_back_also_to_later_pieces_of_the_same_tracks(site: Site) -> None:
    site.correct(CorrectionKind.MERGE, [1, 2])
    site.decide(name(3, 1), 1)  # goes on with a track of what was person 2
    site.decide(name(2, 1), 1)
    site.decide(name(9), 1)
    effect = site.correct(CorrectionKind.UNDO, undoes=1)
    assert {each for each, person in site.identity.items() if person == 2} == {name(3), name(3, 1)}
    assert 2 not in site.merged_into
    assert effect.applied.outcome == "2 tracklets went back" and effect.applied.undoes == 1


def test_an_undone_split_brings_them_home_and_says_who_stays(site: Site) -> None:
    site.correct(CorrectionKind.SPLIT, [1], [name(1, 0), name(2)])
    site.decide(name(5), 3)
    site.revise([Revision(IdentityEventKind.SPLIT, GlobalId(3), GlobalId(2), 1.0, "late", (name(2),))])
    effect = site.correct(CorrectionKind.UNDO, undoes=1)
    assert [site.identity[each] for each in (name(1, 0), name(2), name(5))] == [1, 2, 3]
    assert effect.applied.outcome == "1 tracklet went back; left where they are by now: 1 tracklet"


def test_an_undo_finds_persons_under_the_numbers_that_they_live_on_as(site: Site) -> None:
    site.correct(CorrectionKind.MERGE, [1, 2])
    site.decide(name(8), 3)
    site.revise([Revision(IdentityEventKind.MERGED, GlobalId(1), GlobalId(3), 1.0, "late")])
    site.correct(CorrectionKind.UNDO, undoes=1)
    assert site.identity[name(3)] == 2
    site.correct(CorrectionKind.SPLIT, [3], [name(2)])
    site.revise([Revision(IdentityEventKind.MERGED, GlobalId(3), GlobalId(2), 1.0, "late")])
    site.correct(CorrectionKind.UNDO, undoes=3)
    assert site.identity[name(2)] == 2


def test_who_is_said_to_be_the_same_leaves_together(site: Site) -> None:
    site.correct(CorrectionKind.SAME, tracklets=[name(1), name(2)])
    site.correct(CorrectionKind.NOT_SAME, tracklets=[name(1, 1), name(2)])
    assert [site.identity[each] for each in (name(1, 1), name(2), name(1))] == [1, 3, 1]  # tracks stay whole
    site.decide(name(5), 3)
    site.decide(name(6), 3)
    site.correct(CorrectionKind.SAME, tracklets=[name(5), name(2)])
    site.correct(CorrectionKind.NOT_SAME, tracklets=[name(6), name(2)])
    assert [site.identity[each] for each in (name(6), name(2), name(5))] == [3, 4, 4]


def test_an_undo_takes_nobody_from_whom_a_later_correction_bound_to_the_place(site: Site) -> None:
    site.correct(CorrectionKind.MERGE, [1, 2])
    site.correct(CorrectionKind.SAME, tracklets=[name(3), name(2)])
    effect = site.correct(CorrectionKind.UNDO, undoes=1)
    assert site.identity[name(3)] == 1
    assert effect.applied.outcome == "nothing went back; left where they are by now: 1 tracklet"


def test_an_undo_brings_nobody_home_to_whom_a_later_correction_keeps_apart(site: Site) -> None:
    site.correct(CorrectionKind.SPLIT, [1], [name(1, 0), name(2)])
    site.correct(CorrectionKind.NOT_SAME, tracklets=[name(1, 1), name(2)])
    site.correct(CorrectionKind.UNDO, undoes=1)
    assert [site.identity[each] for each in (name(1, 0), name(1, 1), name(2))] == [1, 1, 3]


def test_an_undo_of_a_mere_rule_moves_nothing(site: Site) -> None:
    site.correct(CorrectionKind.NOT_SAME, tracklets=[name(2), name(3)])
    effect = site.correct(CorrectionKind.UNDO, undoes=1)
    assert effect.revisions == () and "nothing was moved" in effect.applied.outcome
    assert site.laws().forbidden(GlobalId(1)) == frozenset()


def test_whoever_is_gone_is_corrected_no_more(site: Site) -> None:
    request = CorrectionRequest(CorrectionKind.MERGE, "anna", global_ids=(GlobalId(1), GlobalId(9)))
    effect = effect_of(Correction(1, request, 0.0, 4), site.who())
    assert effect.revisions == () and "person 9 is not known any more" in effect.applied.outcome


# --- properties -------------------------------------------------------------------------------------------------------


@st.composite
def sites(draw: st.DrawFn) -> Site:
    site = Site()
    people = draw(st.lists(st.integers(1, 5), min_size=2, max_size=14))
    for number, person in enumerate(people):
        track, sequence = divmod(number, 3)
        site.decide(name(track, sequence, draw(st.sampled_from(["gate", "hall"]))), person)
    return site


def corrected(draw: st.DataObject, site: Site) -> Effect | None:
    """Some correction that the store would take."""
    kinds = st.sampled_from([kind for kind in CorrectionKind if kind is not CorrectionKind.UNDO])
    kind = draw.draw(kinds)
    known = sorted({*site.identity.values(), *site.merged_into})
    names = list(site.identity)
    if kind is CorrectionKind.MERGE:
        people = draw.draw(st.lists(st.sampled_from(known), min_size=2, max_size=2, unique=True)) if known[1:] else None
        return site.correct(kind, people) if people else None
    if kind is CorrectionKind.SPLIT:
        leaving = draw.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
        return site.correct(kind, [site.identity[leaving[0]]], leaving)
    return site.correct(
        kind, tracklets=draw.draw(st.lists(st.sampled_from(names), min_size=2, max_size=2, unique=True))
    )


@given(sites(), st.data())
def test_a_correction_and_its_undo_leave_everything_as_it_was(site: Site, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(0, 2))):
        corrected(data, site)
    before, merged = dict(site.identity), dict(site.merged_into)
    number = len(site.corrections) + 1
    if corrected(data, site) is None:
        return
    site.correct(CorrectionKind.UNDO, undoes=number)
    assert site.identity == before
    # Whoever was somebody before is somebody again; a number that a split opened leads back to where it came from.
    assert {one for one in site.merged_into if one not in merged} <= set(range(1, site.last_id + 1)) - set(
        before.values()
    )


@given(sites(), st.data())
def test_after_every_correction_all_laws_hold(site: Site, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 5))):
        if corrected(data, site) is None:
            continue
        laws = site.laws()
        for person in set(site.identity.values()):
            assert all(person in laws.forbidden(other) for other in laws.forbidden(person))
        for here, there in laws._apart:
            assert {site.identity[each] for each in here}.isdisjoint(site.identity[each] for each in there)
        newest = site.corrections[-1]
        one, other = ({site.identity[each] for each in side} for side in (newest.one_side, newest.other_side))
        if newest.request.kind in (CorrectionKind.MERGE, CorrectionKind.SAME):
            assert len(one | other) <= 1
        else:
            assert one.isdisjoint(other)
        for each in site.identity:
            assert len({site.identity[other] for other in laws.inseparable(frozenset([each]))}) == 1
