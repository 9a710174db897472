"""The matcher's memory: the same however it came to be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts import CameraId, GlobalId, IdentityEventKind, TrackletEmbedding, TrackletId
from pipeline.decisions import Correction, CorrectionKind, CorrectionRequest, Revision
from pipeline.matching.laws import Laws
from pipeline.matching.learning import learn
from pipeline.matching.people import MemoryConfig, People, rows_of, some_of
from tests.fakes import embedding, unit_vectors
from tests.pipeline.matching.made_site import PRIOR, Seen, batch_of, near, people_with, rows, walks

SMALL = MemoryConfig(prior=PRIOR, exemplars=5, exemplars_per_camera=2, tracks_per_camera=16)
NEXT = GlobalId(50)
WALKS = walks(40, persons=6)
LOOKS = unit_vectors(np.random.default_rng(3), 6)  # of the people in `WALKS`


def who_comes_next(after: list[Seen]) -> list[TrackletEmbedding]:
    """Known people, somebody new, two at once, and somebody who goes on."""
    rng = np.random.default_rng(5)
    last, _ = after[-1]
    looks = [*(near(look, rng) for look in LOOKS[:4]), *unit_vectors(rng, 2)]
    span = [(last.ended_at + 5.0 + 3.0 * place, last.ended_at + 9.0 + 3.0 * place) for place in range(len(looks))]
    batch = [
        embedding("gate", 900 + place, started_at=span[place][0], ended_at=span[place][1], vector=look)
        for place, look in enumerate(looks)
    ]
    goes_on = {"sequence": last.sequence + 1, "started_at": last.ended_at + 0.1, "ended_at": last.ended_at + 4.0}
    return [*batch, last.model_copy(update=goes_on)]


def assert_same_memory(one: People, other: People, after: list[Seen] = WALKS) -> None:
    batch = who_comes_next(after)
    assert one.decide(batch, NEXT) == other.decide(batch, NEXT)
    numbers = sorted(one.exemplars.identities())
    assert numbers == sorted(other.exemplars.identities()) and len(one) == len(other) == len(numbers)
    for number in map(GlobalId, numbers):
        assert one.exemplars.of(number) == other.exemplars.of(number)
        assert one.identities.last_seen(number) == other.identities.last_seen(number)
        assert set(one.tracks.tracks(number)) == set(other.tracks.tracks(number))
    columns = np.array(numbers, np.int64)
    np.testing.assert_array_equal(one.identities.looks(columns), other.identities.looks(columns))
    np.testing.assert_array_equal(one.identities.exemplars(columns), other.identities.exemplars(columns))
    np.testing.assert_array_equal(one.nearest(LOOKS), other.nearest(LOOKS))
    assert learn(one, {}).packed() == learn(other, {}).packed()


@settings(max_examples=25)
@given(st.integers(0, 20), st.sampled_from([0.0, 300.0, -40.0]))
def test_looks_that_were_kept_long_enough_are_found_by_the_clock_of_their_camera(place: int, fast_s: float) -> None:
    known = learn(people_with(WALKS), {})
    known = replace(known, clocks_s=np.where(np.arange(len(known.clocks_s)) == known.place("hall"), fast_s, 0.0))
    people, mark = people_with(WALKS, SMALL, known), WALKS[2 * place][0].started_at
    left = [(piece, whose) for piece, whose in WALKS if piece.camera_id != "hall" or piece.started_at >= mark]
    begun = {piece.tracklet_id: piece.started_at for piece, _ in WALKS if piece.camera_id == "hall"}
    outlived = people.begun_before({CameraId("hall"): mark})
    assert {whose for whose in people.exemplars.identities() if earliest(people, whose, begun) < mark} <= set(outlived)
    assert all(earliest(people, whose, begun) <= mark for whose in outlived)
    if outlived:
        people.reload(outlived, rows([(piece, whose) for piece, whose in left if whose in outlived]))
    anew = people_with(left, SMALL, known)
    for number in anew.exemplars.identities():
        assert people.exemplars.of(number) == anew.exemplars.of(number)
    assert not people.begun_before({CameraId("hall"): mark - 1e-6})


def earliest(people: People, whose: GlobalId, begun: dict[TrackletId, float]) -> float:
    return min((begun.get(each.tracklet_id, np.inf) for each in people.exemplars.of(whose)), default=np.inf)


def renamed(seen: list[Seen], names: dict[int, int]) -> list[Seen]:
    return [(piece, GlobalId(names.get(whose, whose))) for piece, whose in seen]


@settings(max_examples=25)
@given(st.lists(st.integers(1, 20), max_size=6), st.booleans())
def test_the_same_rows_leave_the_same_memory_in_whatever_batches_they_came(cuts: list[int], has_learnt: bool) -> None:
    known = learn(people_with(WALKS[:40]), {}) if has_learnt else None
    batched, begin = people_with(config=SMALL, known=known), 0
    for size in [*cuts, len(WALKS)]:
        if WALKS[begin : begin + size]:
            batched.remember(rows(WALKS[begin : begin + size]))
            batched.describe()
        begin += size
    assert_same_memory(batched, people_with(WALKS, SMALL, known))


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 16))
def test_what_is_read_back_from_the_database_is_what_was_remembered(page: int, tracks_per_camera: int) -> None:
    few = replace(SMALL, tracks_per_camera=tracks_per_camera)
    recalled = people_with(config=few)
    recalled.recall(rows(WALKS[begin : begin + page]) for begin in range(0, len(WALKS), page))
    remembered = people_with(WALKS, few, page=7)
    assert recalled.tracklets == remembered.tracklets == len(WALKS)
    assert_same_memory(recalled, remembered)


def test_there_may_be_nothing_to_read_back() -> None:
    people = people_with()
    people.recall([])
    assert len(people) == people.tracklets == 0


def test_a_calibration_in_between_leaves_the_memory_that_a_restart_would() -> None:
    people = people_with(WALKS[:40], SMALL)
    calibration = learn(people, {})
    people.decide(batch_of(WALKS[40:50]), NEXT)
    people.calibrate(calibration)
    people.remember(rows(WALKS[40:]))
    assert_same_memory(people, people_with(WALKS, SMALL, calibration))


def test_deciding_changes_nothing() -> None:
    people = people_with(WALKS)
    people.decide(who_comes_next(WALKS), NEXT)
    assert_same_memory(people, people_with(WALKS))


def test_decisions_are_remembered_as_the_database_will_give_them_back() -> None:
    decisions = people_with(WALKS).decide(who_comes_next(WALKS), NEXT)
    moments = [1000.0 + place for place in range(len(decisions))]
    kept = rows_of(decisions, moments)
    assert kept.tracklet_ids == [made.embedding.tracklet_id for made in decisions]
    assert kept.global_ids.tolist() == [made.global_id for made in decisions]
    assert kept.newness.tolist() == [made.newness for made in decisions]
    assert kept.likeliest.tolist() == [made.likeliest for made in decisions]
    assert kept.decided_at.tolist() == moments


def test_known_people_are_known_again_and_others_are_new() -> None:
    found = {made.embedding.track_id: made for made in people_with(WALKS).decide(who_comes_next(WALKS), NEXT)}
    assert [found[track].global_id for track in range(900, 904)] == [1, 2, 3, 4]
    assert [found[track].is_new for track in range(900, 906)] == [False] * 4 + [True] * 2
    last, whose = WALKS[-1]
    assert found[last.track_id].global_id == whose


@settings(max_examples=25)
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([7, 100]))
def test_after_a_merge_the_memory_is_as_if_they_had_always_been_one(into: int, other: int, page: int) -> None:
    if into == other:
        return
    expected = renamed(WALKS, {other: into})
    # What was thought of a tracklet stays what it was.
    after = replace(rows(WALKS), global_ids=rows(expected).global_ids)
    fresh = people_with(config=SMALL)
    fresh.remember(after)
    merged, revised = people_with(WALKS, SMALL, page=page), people_with(WALKS, SMALL, page=page)
    merge = Revision(IdentityEventKind.MERGED, GlobalId(other), GlobalId(into), 1.0, "a test")
    merged.merge([merge])
    own = {piece.tracklet_id for piece, whose in expected if whose == into}
    revised.revise([merge], some_of(after, own))
    assert_same_memory(merged, fresh)
    assert_same_memory(revised, fresh)


@settings(max_examples=25)
@given(st.sets(st.integers(0, len(WALKS) - 1), min_size=1, max_size=12), st.integers(1, 6))
def test_after_a_split_the_memory_is_as_a_rebuild_would_leave_it(places: set[int], person: int) -> None:
    leaving = {WALKS[place][0].tracklet_id for place in places if WALKS[place][1] == person}
    if not leaving:
        return
    expected = [(piece, GlobalId(20)) if piece.tracklet_id in leaving else (piece, whose) for piece, whose in WALKS]
    after = replace(rows(WALKS), global_ids=rows(expected).global_ids)
    fresh, people = people_with(config=SMALL), people_with(WALKS, SMALL)
    fresh.remember(after)
    split = Revision(
        IdentityEventKind.SPLIT,
        GlobalId(person),
        GlobalId(20),
        1.0,
        "a test",
        tuple(TrackletId(name) for name in sorted(leaving)),
        is_new=True,
    )
    touched = {piece.tracklet_id for piece, whose in expected if whose in (person, 20)}
    people.revise([split], some_of(after, touched))
    assert_same_memory(people, fresh)


def test_beyond_the_limit_whoever_was_seen_the_longest_ago_is_forgotten() -> None:
    looks = unit_vectors(np.random.default_rng(2), 8)
    seen = [
        (
            embedding("gate", place, started_at=10.0 * place, ended_at=10.0 * place + 4.0, vector=look),
            GlobalId(place + 1),
        )
        for place, look in enumerate(looks)
    ]
    few = replace(SMALL, identities=3)
    for page in (1, 3, 100):
        people = people_with(seen, few, page=page)
        assert sorted(people.exemplars.identities()) == [6, 7, 8] and len(people) == len(people.exemplars) == 3
        assert set(people.nearest(looks).tolist()) == {6, 7, 8}
        back = embedding("hall", 99, started_at=100.0, ended_at=104.0, vector=looks[0])
        assert people.decide([back], NEXT)[0].is_new, "whoever is forgotten is somebody new"


def test_a_law_binds_the_next_piece_of_a_track_to_a_person() -> None:
    people = people_with(WALKS)
    last, whose = WALKS[-1]
    request = CorrectionRequest(CorrectionKind.SAME, "anna", tracklet_ids=(last.tracklet_id, WALKS[0][0].tracklet_id))
    law = Correction(1, request, 0.0, 0, one_side=(last.tracklet_id,), other_side=(WALKS[0][0].tracklet_id,))
    other = GlobalId(whose % 6 + 1)
    people.laws = Laws([law], {last.tracklet_id: other, WALKS[0][0].tracklet_id: other})
    (decided,) = people.decide(who_comes_next(WALKS)[-1:], NEXT)
    assert decided.global_id == other


def test_rows_can_be_picked_by_name() -> None:
    names = {WALKS[3][0].tracklet_id, WALKS[1][0].tracklet_id}
    picked = some_of(rows(WALKS), names)
    assert picked.tracklet_ids == [WALKS[1][0].tracklet_id, WALKS[3][0].tracklet_id]
    np.testing.assert_array_equal(picked.vectors, rows(WALKS).vectors[[1, 3]])
    assert picked.global_ids.tolist() == [WALKS[1][1], WALKS[3][1]]
