"""What the store promises on every database."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.history import Seen
from pipeline.adapters.schema import embeddings, identities, identity_events, tracklets
from pipeline.adapters.store import SqlStore
from pipeline.contracts import (
    CameraId,
    GlobalId,
    TrackletEmbedding,
    TrackletId,
    pack_vector,
    unpack_vector,
)
from pipeline.decisions import Decision
from pipeline.errors import ConfigurationError, ModelVersionMismatch, Unavailable
from tests.fakes import DIGEST, DIMENSION, crop, embedding, tracklet, unit_vectors

NOW = 1_700_000_000.0


def decide(seen: TrackletEmbedding, global_id: int, *, is_new: bool = False) -> Decision:
    return Decision(seen, GlobalId(global_id), is_new, confidence=0.75, reason="alike")


def commit(store: SqlStore, *people: tuple[TrackletEmbedding, int]) -> None:
    store.commit_decisions([decide(seen, global_id) for seen, global_id in people], NOW)


def everything(store: SqlStore) -> object:
    return store.events_after(0, 1000), store.gallery(DIGEST, "appearance", 0, 1000)[0].tracklet_ids, store.counts()


# --- decisions --------------------------------------------------------------------------------------------------------


def test_a_decision_becomes_an_assignment_an_event_and_a_gallery_row(store: SqlStore) -> None:
    seen = embedding("gate", 4, started_at=10.0, ended_at=13.5)
    (event,) = store.commit_decisions([decide(seen, 1, is_new=True)], NOW)
    assert (event.event_id, event.global_id, event.is_new, event.confidence) == (1, 1, True, 0.75)
    assert (event.camera_id, event.started_at, event.ended_at, event.decided_at) == ("gate", 10.0, 13.5, NOW)
    assert store.assignments([seen.tracklet_id, TrackletId("unknown/b/0/0")]) == {seen.tracklet_id: 1}
    rows, position = store.gallery(DIGEST, "appearance", 0, 10)
    assert (rows.tracklet_ids, rows.global_ids.tolist(), rows.camera_ids) == ([seen.tracklet_id], [1], ["gate"])
    assert (rows.boot_ids, rows.track_ids.tolist()) == (["b1"], [4])
    assert (rows.started_at.tolist(), rows.ended_at.tolist(), position) == ([10.0], [13.5], 1)


def test_a_batch_given_again_changes_nothing(store: SqlStore) -> None:
    batch = [decide(embedding(track_id=number), 1 + number) for number in range(3)]
    store.commit_decisions(batch, NOW)
    before = everything(store)
    assert store.commit_decisions(batch, NOW + 5) == []
    assert everything(store) == before


def test_a_tracklet_keeps_its_first_identity_whoever_decides_again(store: SqlStore) -> None:
    seen, other = embedding(track_id=1), embedding(track_id=2)
    commit(store, (seen, 1))
    (event,) = store.commit_decisions([decide(seen, 9), decide(other, 2)], NOW)
    assert store.assignments([seen.tracklet_id, other.tracklet_id]) == {seen.tracklet_id: 1, other.tracklet_id: 2}
    assert (event.event_id, event.tracklet_ids) == (2, (other.tracklet_id,))
    assert 9 not in store.identities([GlobalId(9)])


def test_of_a_tracklet_twice_in_one_batch_the_first_counts(store: SqlStore) -> None:
    seen = embedding()
    (event,) = store.commit_decisions([decide(seen, 1), decide(seen, 2)], NOW)
    assert event.global_id == 1
    assert store.next_global_id() == 2


def test_an_empty_batch_is_nothing(store: SqlStore) -> None:
    assert store.commit_decisions([], NOW) == []


def test_a_batch_that_fails_leaves_no_trace(store: SqlStore) -> None:
    commit(store, (embedding(track_id=1), 1))
    before = everything(store)
    with pytest.raises(Exception, match="reason"):  # pydantic's: only there to break in the middle
        store.commit_decisions(
            [
                decide(embedding(track_id=2), 2),
                Decision(embedding(track_id=3), GlobalId(3), True, confidence=0.5, reason="x" * 401),
            ],
            NOW,
        )
    assert everything(store) == before
    assert store.next_global_id() == 2


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_identity_numbers_begin_at_one_and_follow_the_highest_given_out(store: SqlStore) -> None:
    assert store.next_global_id() == 1
    commit(store, (embedding(track_id=1), 1), (embedding(track_id=2), 7), (embedding(track_id=3), 3))
    assert store.next_global_id() == 8


def test_identity_and_event_numbers_are_not_reused_when_everything_is_deleted(store: SqlStore) -> None:
    commit(store, (embedding(track_id=1), 5))
    with store._database.writing() as connection:
        for table in (embeddings, tracklets, identities, identity_events):
            connection.execute(table.delete())
    assert store.next_global_id() == 6
    (event,) = store.commit_decisions([decide(embedding(track_id=1), 6)], NOW)
    assert event.event_id == 2
    assert store.gallery(DIGEST, "appearance", 1, 10)[1] == 2


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(0, 12), max_size=6), max_size=6))
def test_events_are_numbered_without_gap_whatever_is_repeated(batches: list[list[int]]) -> None:
    store = SqlStore.in_memory()
    returned: list[int] = []
    for batch in batches:
        events = store.commit_decisions([decide(embedding(track_id=number), 1 + number) for number in batch], NOW)
        returned += [event.event_id for event in events]
    distinct = len({number for batch in batches for number in batch})
    assert returned == list(range(1, distinct + 1))
    assert [event.event_id for event in store.events_after(0, 100)] == returned
    assert store.counts().tracklets == distinct
    store.close()


def test_a_number_given_out_in_the_meantime_is_not_given_to_a_second_new_person(store: SqlStore) -> None:
    drawn = store.next_global_id()
    store.commit_decisions([decide(embedding("gate", 1), drawn, is_new=True)], NOW)
    before = everything(store)
    late = [decide(embedding("hall", 2), drawn, is_new=True), decide(embedding("hall", 3), drawn)]
    with pytest.raises(Unavailable, match="identity 1 was meant for a new person"):
        store.commit_decisions(late, NOW)
    assert everything(store) == before
    drawn = store.next_global_id()
    assert len(store.commit_decisions([decide(late[0].embedding, drawn, is_new=True)], NOW)) == 1


def test_nobody_joins_a_new_person_whose_number_went_to_somebody_else(store: SqlStore) -> None:
    first, second = embedding("gate", 1), embedding("gate", 2)
    commit(store, (embedding("hall", 9), 1), (first, 2))
    with pytest.raises(Unavailable):
        store.commit_decisions([decide(first, 1, is_new=True), decide(second, 1)], NOW)
    assert store.assignments([second.tracklet_id]) == {}


# --- outbox -----------------------------------------------------------------------------------------------------------


def test_events_wait_in_order_until_they_are_marked_as_published(store: SqlStore) -> None:
    commit(store, *((embedding(track_id=number), number) for number in range(1, 6)))
    waiting = store.unpublished_events(2)
    assert [event.event_id for event in waiting] == [1, 2]
    assert store.unpublished_events(2) == waiting  # a crash before the mark: the same events, the same numbers
    store.mark_published(2)
    assert [event.event_id for event in store.unpublished_events(10)] == [3, 4, 5]
    store.mark_published(5)
    assert store.unpublished_events(10) == []


def test_marking_backwards_publishes_nothing_again(store: SqlStore) -> None:
    commit(store, (embedding(track_id=1), 1), (embedding(track_id=2), 2))
    store.mark_published(2)
    store.mark_published(1)
    assert store.unpublished_events(10) == []


def test_assignments_are_no_changes(store: SqlStore) -> None:
    commit(store, (embedding(), 1))
    assert store.identity_changes(0, 10) == []
    assert [event.event_id for event in store.events_after(0, 10)] == [1]


# --- gallery ----------------------------------------------------------------------------------------------------------


def test_vectors_survive_as_the_float16_that_was_sent(store: SqlStore) -> None:
    looks = unit_vectors(np.random.default_rng(1), 5)
    commit(store, *((embedding(track_id=n, vector=look), 1) for n, look in enumerate(looks)))
    vectors = store.gallery(DIGEST, "appearance", 0, 10)[0].vectors
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, np.stack([unpack_vector(pack_vector(look)) for look in looks]))


def test_the_two_vectors_are_kept_apart(store: SqlStore) -> None:
    seen = embedding().model_copy(update={"language": pack_vector(np.eye(4)[2])})
    commit(store, (seen, 1))
    assert store.gallery(DIGEST, "appearance", 0, 10)[0].vectors.shape == (1, DIMENSION)
    assert store.gallery(DIGEST, "language", 0, 10)[0].vectors.tolist() == [[0.0, 0.0, 1.0, 0.0]]
    with pytest.raises(ConfigurationError, match="expected one of appearance, language"):
        store.gallery(DIGEST, "identity", 0, 10)


def test_pages_together_are_the_whole_gallery_in_order(store: SqlStore) -> None:
    commit(store, *((embedding(track_id=number), 1) for number in range(10)))
    pages: list[TrackletId] = []
    position = 0
    while (page := store.gallery(DIGEST, "appearance", position, 4))[0].tracklet_ids:
        pages += page[0].tracklet_ids
        position = page[1]
    assert pages == store.gallery(DIGEST, "appearance", 0, 100)[0].tracklet_ids
    assert len(pages) == 10
    assert store.gallery(DIGEST, "appearance", position, 4)[1] == position


def test_vectors_of_models_never_mix(store: SqlStore) -> None:
    old, new = embedding(digest="old-model"), embedding(digest="new-model")
    commit(store, (old, 1))
    assert store.commit_decisions([decide(new, 1)], NOW) == []  # embedded again: a vector more, and no event
    assert store.gallery("old-model", "appearance", 0, 10)[0].tracklet_ids == [old.tracklet_id]
    assert store.gallery("new-model", "appearance", 0, 10)[0].tracklet_ids == [new.tracklet_id]
    assert store.gallery("unknown-model", "appearance", 0, 10)[0].vectors.shape == (0, 0)


def test_one_digest_with_two_dimensions_is_reported(store: SqlStore) -> None:
    commit(store, (embedding(track_id=1), 1), (embedding(track_id=2, vector=np.eye(1, 4, dtype=np.float32)[0]), 1))
    with pytest.raises(ModelVersionMismatch, match="4 and 16 values"):
        store.gallery(DIGEST, "appearance", 0, 10)


# --- archive and questions --------------------------------------------------------------------------------------------


def test_archiving_and_deciding_meet_in_either_order(store: SqlStore) -> None:
    first, second = tracklet(1, crop(b"one!")), tracklet(2, crop(b"two!"))
    store.archive_tracklet(first)
    commit(store, (embedding(track_id=1), 1), (embedding(track_id=2), 1))
    store.archive_tracklet(second)
    known = store.tracklets([first.tracklet_id, second.tracklet_id])
    assert [known[each.tracklet_id].global_id for each in (first, second)] == [1, 1]
    assert [known[each.tracklet_id].crops[0].blob_key for each in (first, second)] == [
        first.crops[0].key,
        second.crops[0].key,
    ]


def test_an_archived_tracklet_waits_for_its_identity(store: SqlStore) -> None:
    seen = tracklet(1, crop(b"best"), crop(b"good", score=0.5))
    store.archive_tracklet(seen)
    store.archive_tracklet(seen)
    stored = store.tracklets([seen.tracklet_id])[seen.tracklet_id]
    assert (stored.global_id, stored.confidence) == (None, None)
    assert [kept.blob_key for kept in stored.crops] == [each.key for each in seen.crops]
    assert (stored.crops[0].box_px, stored.crops[0].frame_size_px) == ((10.0, 10.0, 74.0, 202.0), (640, 360))
    assert store.gallery(DIGEST, "appearance", 0, 10)[0].tracklet_ids == []
    assert store.counts().tracklets == 0


def at(camera_id: str, track_id: int, started_at: float, ended_at: float) -> TrackletEmbedding:
    return embedding(camera_id, track_id, started_at=started_at, ended_at=ended_at)


def walk(store: SqlStore) -> None:
    """Person 1: gate, hall, gate again. Person 2: hall only, last seen earliest. Person 3: gate only, last."""
    commit(
        store,
        (at("gate", 1, 100.0, 104.0), 1),
        (at("gate", 1, 104.0, 108.0).model_copy(update={"sequence": 1}), 1),
        (at("hall", 5, 120.0, 130.0), 1),
        (at("gate", 2, 200.0, 205.0), 1),
        (at("hall", 6, 90.0, 99.0), 2),
        (at("gate", 7, 300.0, 310.0), 3),
    )


def test_a_route_is_the_stays_in_order(store: SqlStore) -> None:
    walk(store)
    route = store.route(GlobalId(1))
    assert [(stay.camera_id, stay.started_at, stay.ended_at) for stay in route] == [
        ("gate", 100.0, 108.0),
        ("hall", 120.0, 130.0),
        ("gate", 200.0, 205.0),
    ]
    assert store.routes([GlobalId(1), GlobalId(99)]) == {1: route, 99: []}


def test_a_summary_counts_and_spans_all_tracklets(store: SqlStore) -> None:
    walk(store)
    commit(store, (at("lift", 1, 50.0, 60.0), 1))
    summary = store.identities([GlobalId(1), GlobalId(99)])
    assert set(summary) == {1}
    assert (summary[GlobalId(1)].first_seen_at, summary[GlobalId(1)].last_seen_at) == (50.0, 205.0)
    assert (summary[GlobalId(1)].tracklets, summary[GlobalId(1)].camera_ids) == (5, ("lift", "gate", "hall"))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Seen(), [3, 1, 2]),
        (Seen(camera_ids=("hall",)), [1, 2]),
        (Seen(since_at=125.0), [3, 1]),
        (Seen(until_at=110.0), [1, 2]),
        (Seen(camera_ids=("hall",), since_at=95.0, until_at=100.0), [2]),
        (Seen(camera_ids=("roof",)), []),
    ],
)
def test_identities_are_listed_last_seen_first_within_the_filter(
    store: SqlStore, seen: Seen, expected: Sequence[int]
) -> None:
    walk(store)
    assert [summary.global_id for summary in store.recent_identities(10, seen)] == expected
    assert [summary.global_id for summary in store.recent_identities(1, seen)] == expected[:1]


def test_a_track_has_the_identity_of_most_of_its_tracklets(store: SqlStore) -> None:
    pieces = [embedding(track_id=1, sequence=number) for number in range(3)]
    commit(store, (pieces[0], 1), (pieces[1], 2), (pieces[2], 2), (embedding("hall", 1), 1))
    assert store.track_identities() == {("gate", "b1", 1): 2, ("hall", "b1", 1): 1}


def test_more_identities_than_one_statement_can_name_are_found(store: SqlStore) -> None:
    commit(store, *((embedding(track_id=number), number) for number in range(1, 1300)))
    everybody = [GlobalId(number) for number in range(1, 1300)]
    assert list(store.identities(everybody)) == everybody
    assert all(len(route) == 1 for route in store.routes(everybody).values())


def test_a_camera_is_remembered_with_its_newest_address(store: SqlStore) -> None:
    store.upsert_camera(CameraId("gate"), "rtsp://host/old", NOW)
    store.upsert_camera(CameraId("gate"), "rtsp://host/new", NOW + 9)
    (camera,) = store.cameras()
    assert (camera.camera_id, camera.address, camera.added_at) == ("gate", "rtsp://host/new", NOW)
