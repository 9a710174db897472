"""How what was kept long enough goes, on every database."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.store import SqlStore
from pipeline.contracts import CameraId, GlobalId, IdentityEventKind, TrackletId
from pipeline.decisions import Decision, Revision
from pipeline.forgetting import DAY_S, Keeping, Kind, Oldest, cutoffs
from pipeline.kept import FailedEmbedding, Position
from tests.fakes import DIGEST, crop, embedding, tracklet

GATE, HALL = CameraId("gate"), CameraId("hall")
NOW = 1_700_000_000.0


@pytest.fixture
def four(store: SqlStore) -> SqlStore:
    """Person 1 at gate from seconds 0, 10 and 20 on, and in the hall from second 5 on."""
    for place, (camera_id, at) in enumerate((("gate", 0.0), ("gate", 10.0), ("gate", 20.0), ("hall", 5.0))):
        seen = embedding(camera_id, place, started_at=at, ended_at=at + 4.0)
        store.commit_decisions([Decision(seen, GlobalId(1), not place, 0.9, "alike")], NOW)
        kept = tracklet(place, crop(b"crop %d" % place), camera_id=camera_id)
        store.archive_tracklet(kept.model_copy(update={"started_at": at, "ended_at": at + 4.0}))
    return store


def clean(store: SqlStore, camera_id: CameraId, kind: Kind, limit: int = 9) -> int:
    removed = 0
    while more := store.clean(camera_id, kind, limit):
        removed += more
    return removed


def vectors(store: SqlStore) -> list[str]:
    return list(store.gallery(DIGEST, "language", 0, 99)[0].tracklet_ids)


def test_vectors_beyond_their_time_are_given_to_nobody_before_they_are_removed(four: SqlStore) -> None:
    assert four.advance_marks(GATE, {Kind.VECTORS: 15.0})
    left = ["gate/b1/2/0", "hall/b1/3/0"]
    assert vectors(four) == left
    assert four.decided(DIGEST, 0, 99)[0].tracklet_ids == left
    assert four.rows_of_identity(DIGEST, [GlobalId(1)]).tracklet_ids == left
    assert clean(four, GATE, Kind.VECTORS) == 2 and vectors(four) == left
    assert len(four.route(GlobalId(1))[0].crop_keys) == 3


def test_pages_of_decisions_go_on_behind_those_beyond_their_time(four: SqlStore) -> None:
    four.advance_marks(GATE, {Kind.VECTORS: 15.0})  # the first two of four
    for limit in (1, 2, 3):
        found, after = [], 0
        while len(told := four.decisions(after, limit)[1]):
            assert len(told) <= limit
            found += told.tolist()
            after = found[-1]
        assert found == [3, 4]


def test_vectors_that_are_gone_are_not_made_up_again(four: SqlStore) -> None:
    four.advance_marks(GATE, {Kind.VECTORS: 15.0})
    assert clean(four, GATE, Kind.VECTORS) == 2
    late = embedding("gate", 0, started_at=0.0)
    assert four.add_vectors([late]) == [] and four.gone([late], Kind.VECTORS) == {late.tracklet_id}
    nowhere = four.missing(DIGEST, Position(-math.inf, TrackletId("")), 9)
    assert nowhere == [] and four.coverage(DIGEST).covered == four.coverage(DIGEST).expected == 2
    assert four.archive_tracklet(tracklet(7, crop(b"late")))  # its pixels still have time


def test_crops_take_their_vectors_with_them_and_leave_the_sighting(four: SqlStore) -> None:
    four.advance_marks(GATE, {Kind.CROPS: 15.0})
    assert vectors(four) == ["gate/b1/2/0", "hall/b1/3/0"]
    assert clean(four, GATE, Kind.CROPS) == 2
    assert sorted(four.doomed_blobs(9)) == sorted(crop(b"crop %d" % place).key for place in (0, 1))
    assert sum(len(stay.tracklet_ids) for stay in four.route(GlobalId(1))) == 4
    assert not four.archive_tracklet(tracklet(0, crop(b"crop 0")))


def test_events_go_with_their_sightings_and_people_shrink_to_what_is_left(four: SqlStore) -> None:
    four.advance_marks(GATE, {Kind.EVENTS: 15.0})
    assert clean(four, GATE, Kind.EVENTS, limit=1) == 2
    assert [event.tracklet_ids for event in four.events_after(0, 9)] == [("gate/b1/2/0",), ("hall/b1/3/0",)]
    person = four.identities([GlobalId(1)])[GlobalId(1)]
    assert (person.tracklets, person.first_seen_at, person.last_seen_at) == (2, 5.0, 24.0)
    four.advance_marks(GATE, {Kind.EVENTS: math.inf})
    four.advance_marks(HALL, {Kind.EVENTS: math.inf})
    assert clean(four, GATE, Kind.EVENTS) + clean(four, HALL, Kind.EVENTS) == 2
    assert four.current_identity(GlobalId(1)) is None and four.next_global_id() == 2


def test_somebody_who_is_seen_again_after_all_sightings_went_keeps_the_number(four: SqlStore) -> None:
    for camera_id in (GATE, HALL):
        four.advance_marks(camera_id, {Kind.EVENTS: 25.0})
        clean(four, camera_id, Kind.EVENTS)
    again = embedding("gate", 9, started_at=30.0, ended_at=34.0)
    four.commit_decisions([Decision(again, GlobalId(1), False, 0.9, "alike")], NOW)
    assert four.assignments([again.tracklet_id]) == {again.tracklet_id: 1}


def test_a_merge_is_told_as_long_as_somebody_whom_it_moved_is_kept(four: SqlStore) -> None:
    other = embedding("hall", 8, started_at=50.0, ended_at=54.0)
    four.commit_decisions([Decision(other, GlobalId(2), True, 0.9, "new")], NOW)
    four.commit_decisions((), NOW, [Revision(IdentityEventKind.MERGED, GlobalId(1), GlobalId(2), 1.0, "alike")])
    four.advance_marks(GATE, {Kind.EVENTS: 99.0})
    clean(four, GATE, Kind.EVENTS)
    (merge,) = four.identity_changes(0, 9)
    assert merge.tracklet_ids == ("hall/b1/3/0",)


def test_marks_never_go_back_and_cameras_have_their_own(four: SqlStore) -> None:
    assert four.advance_marks(GATE, {Kind.VECTORS: 15.0, Kind.CROPS: 5.0})
    assert not four.advance_marks(GATE, {Kind.VECTORS: 3.0})
    assert four.vectors_kept_from() == {GATE: 15.0}
    clean(four, GATE, Kind.VECTORS)
    assert four.oldest([GATE, HALL]) == [
        Oldest(GATE, Kind.VECTORS, 15.0, 20.0),
        Oldest(GATE, Kind.CROPS, 5.0, 0.0),
        Oldest(GATE, Kind.EVENTS, None, 0.0),
        *(Oldest(HALL, kind, None, 5.0) for kind in Kind),
    ]
    assert four.seen_cameras() == [GATE, HALL]


def test_a_failure_about_a_tracklet_that_is_gone_is_passed_over(four: SqlStore) -> None:
    four.note_failures([FailedEmbedding(embedding("yard", 1).tracklet_id, DIGEST, "no crop is left")], NOW)
    assert four.coverage(DIGEST).failed == 0


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.integers(0, 7), st.integers(1, 5))
def test_parts_of_any_size_remove_what_lies_before_the_mark_and_nothing_else(
    begun: list[int], mark: int, limit: int
) -> None:
    store = SqlStore.in_memory()
    seen = [embedding(track_id=track, started_at=float(at), ended_at=99.0) for track, at in enumerate(begun)]
    store.commit_decisions([Decision(each, GlobalId(n), True, 0.9, "new") for n, each in enumerate(seen, 1)], NOW)
    store.advance_marks(GATE, {Kind.EVENTS: float(mark)})
    assert clean(store, GATE, Kind.EVENTS, limit) == sum(at < mark for at in begun)
    assert store.counts().tracklets == sum(at >= mark for at in begun)
    store.close()


@given(st.floats(0.01, 400.0), st.floats(1e9, 2e9), st.floats(0.0, 1e7))
def test_nothing_is_kept_longer_than_told_nor_much_shorter(days: float, now: float, waited_s: float) -> None:
    cutoff = cutoffs(Keeping(days, days, None), now)[Kind.CROPS]
    assert now - days * DAY_S - 1e-3 <= cutoff <= now - days * DAY_S + min(3600.0, days * DAY_S / 24) + 1e-3
    assert cutoffs(Keeping(days, days, None), now + waited_s)[Kind.CROPS] >= cutoff
    assert Kind.EVENTS not in cutoffs(Keeping(days, days, None), now)


@pytest.mark.parametrize(
    "days", [(2.0, 1.0, 9.0), (None, 1.0, 9.0), (1.0, 9.0, 2.0), (1.0, None, 2.0), (0.0, 1.0, 2.0)]
)
def test_no_vector_may_outlive_its_pixels_nor_these_their_sighting(days: tuple[float | None, ...]) -> None:
    with pytest.raises(ValueError, match="expected no kind to be kept longer than the next"):
        Keeping(*days)
