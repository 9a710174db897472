"""What the store promises about vectors of several models, and about the one that serves."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.adapters import gallery_pages, vector_runs
from pipeline.adapters.store import SqlStore
from pipeline.contracts import Crop, GlobalId, TrackletEmbedding, TrackletId, tracklet_parts
from pipeline.decisions import Decision
from pipeline.errors import ModelVersionMismatch
from pipeline.kept import Coverage, FailedEmbedding, Position
from tests.fakes import crop, embedding, tracklet, unit_vectors

OLD, NEW = "old-model", "new-model"
NOW = 1_700_000_000.0
START = Position(float("-inf"), TrackletId(""))


def archive(store: SqlStore, *track_ids: int, crops: tuple[Crop, ...] = (crop(b"jpeg"),)) -> None:
    for track_id in track_ids:
        store.archive_tracklet(tracklet(track_id, *crops))


def decide(store: SqlStore, *track_ids: int, digest: str = OLD) -> None:
    seen = [embedding(track_id=track_id, digest=digest) for track_id in track_ids]
    store.commit_decisions([Decision(each, GlobalId(1), False, 0.9, "test") for each in seen], NOW)


def named(track_id: int, digest: str = NEW) -> TrackletEmbedding:
    return embedding(track_id=track_id, digest=digest)


def missing(store: SqlStore, digest: str = NEW, undecided_before: float | None = None) -> list[int]:
    found = store.missing(digest, START, 100, undecided_before)
    return [tracklet_parts(place.tracklet_id)[2] for place in found]


# --- vectors ----------------------------------------------------------------------------------------------------------


def test_a_vector_more_decides_nothing_and_is_written_once(store: SqlStore) -> None:
    decide(store, 1)
    events = store.events_after(0, 10)
    assert store.add_vectors([named(1), named(1)]) == [named(1)]
    assert store.add_vectors([named(1)]) == []
    assert store.events_after(0, 10) == events
    assert store.gallery(NEW, "appearance", 0, 10)[0].global_ids.tolist() == [1]
    assert store.gallery(OLD, "appearance", 0, 10)[0].global_ids.tolist() == [1]


def steps_of_asking_who_waits(decided: int) -> int:
    """Hundreds of instructions of SQLite's machine, with so many decided tracklets and one that waits."""
    store = SqlStore.in_memory()
    decide(store, *range(1, decided + 1))
    store.add_vectors([embedding(track_id=9_999, digest=OLD)])
    archive(store, 9_999)
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with store._database.reading() as connection:
        connection.connection.driver_connection.set_progress_handler(count, 100)
    assert [seen.track_id for seen in store.undecided(OLD, 10)] == [9_999]
    store.close()
    return steps


def test_asking_who_waits_costs_the_same_however_many_are_decided() -> None:
    assert steps_of_asking_who_waits(decided=400) <= steps_of_asking_who_waits(decided=20) + 1


def test_a_vector_of_an_unknown_tracklet_is_kept_for_its_decision(store: SqlStore) -> None:
    seen = embedding(track_id=7, digest=NEW, vector=unit_vectors(np.random.default_rng(0), 1)[0])
    assert store.add_vectors([seen]) == [seen]
    assert store.gallery(NEW, "appearance", 0, 10)[0].tracklet_ids == []
    assert store.undecided(NEW, 10) == []  # its crops are not archived yet
    archive(store, 7)
    (waiting,) = store.undecided(NEW, 10)
    assert waiting == seen.model_copy(update={"crop_keys": (crop(b"jpeg").key,)})
    assert store.undecided(OLD, 10) == []
    decide(store, 7, digest=NEW)
    assert store.undecided(NEW, 10) == []


def test_a_reader_who_follows_the_rows_finds_vectors_whose_tracklet_was_decided_later(store: SqlStore) -> None:
    store.add_vectors([named(1), named(2)])
    decide(store, 3, digest=NEW)
    found, position = store.gallery(NEW, "appearance", 0, 10)
    assert found.track_ids.tolist() == [3]
    decide(store, 2, 1, digest=OLD)
    assert store.gallery(NEW, "appearance", position, 10)[0].track_ids.tolist() == [1, 2]
    assert store.gallery(OLD, "appearance", position, 10)[0].track_ids.tolist() == [2, 1]


def test_those_who_wait_are_decided_from_the_earliest_on(store: SqlStore) -> None:
    for track_id, started_at in ((1, 30.0), (2, 10.0), (3, 20.0)):
        store.add_vectors([embedding(track_id=track_id, digest=NEW, started_at=started_at, ended_at=40.0)])
        archive(store, track_id)
    assert [seen.track_id for seen in store.undecided(NEW, 2)] == [2, 3]


def test_the_gallery_comes_in_the_order_of_decisions_whenever_its_vectors_were_made(store: SqlStore) -> None:
    decide(store, 3, 1, 2)
    store.add_vectors([named(1), named(2)])
    store.add_vectors([named(3)])
    order = [(rows.track_ids.tolist(), place) for rows, place in (store.decided(NEW, 0, 2), store.decided(NEW, 2, 9))]
    assert order == [([3, 1], 2), ([2], 3)]
    assert store.decided(NEW, 3, 9)[1] == 3
    assert store.gallery(NEW, "appearance", 3, 10)[0].track_ids.tolist() == [1, 2, 3]


def test_a_page_of_decisions_holds_the_vectors_of_the_model_that_is_asked_for_and_no_gaps(store: SqlStore) -> None:
    looks = unit_vectors(np.random.default_rng(0), 5)
    decide(store, 5, 4, 3, 2, 1)
    assert store.add_vectors([embedding(track_id=each, digest=NEW, vector=looks[each - 1]) for each in (1, 2, 4)])
    rows, place = store.decided(NEW, 0, 9)
    assert (rows.track_ids.tolist(), place) == ([4, 2, 1], 5)
    assert rows.tracklet_ids == [named(each).tracklet_id for each in (4, 2, 1)]
    np.testing.assert_array_equal(rows.vectors, looks[[3, 1, 0]].astype(np.float16))
    pages = [store.decided(NEW, after, 1) for after in (0, 2, 4)]  # the first and the third decision have no vector
    assert [(page.track_ids.tolist(), place) for page, place in pages] == [([4], 2), ([2], 4), ([1], 5)]
    assert store.decided("another-model", 0, 2)[0].tracklet_ids == []


def test_there_are_never_more_vectors_than_are_expected(store: SqlStore) -> None:
    for number in range(1, 5):
        store.add_vectors([named(number), embedding(track_id=number, digest=OLD)])
        assert number <= store.most_vectors(NEW) < 2 * number
    assert store.most_vectors("another-model") <= 1


TINIEST = 5e-324
TODAY = [NOW + share for share in (0.0, 1 / 3, 0.1, 2.0**-22, 0.999999762)]


@pytest.mark.parametrize(
    "moments", [TODAY, [0.1, 1 / 3, 4.0], [*TODAY, 2.0**-23, 12.5], [-1e300, -7.25, -TINIEST, TINIEST, 2.0**60, 1e300]]
)
def test_moments_of_decisions_come_back_to_the_last_bit(store: SqlStore, moments: list[float]) -> None:
    for number, moment in enumerate(moments):
        seen = embedding(track_id=number, started_at=moment, ended_at=max(moments))
        store.commit_decisions([Decision(seen, GlobalId(number + 1), True, 0.9, "new")], NOW)
    rows, _ = store.decisions(0, 99)
    assert rows.started_at.tolist() == moments and set(rows.ended_at.tolist()) == {max(moments)}
    assert rows.tracklet_ids == [f"gate/b1/{number}/0" for number in range(len(moments))]
    assert rows.global_ids.tolist() == [number + 1 for number in range(len(moments))]
    assert set(rows.camera_ids) == {"gate"} and set(rows.boot_ids) == {"b1"}


def test_sqlite_is_not_asked_row_by_row_for_moments_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqlStore.in_memory()
    seen = [embedding(track_id=number, started_at=moment, ended_at=NOW + 9.3) for number, moment in enumerate(TODAY)]
    store.commit_decisions([Decision(each, GlobalId(1), True, 0.9, "new") for each in seen], NOW)
    monkeypatch.setattr(gallery_pages, "plain_rows", None)
    assert store.decisions(0, 99)[0].track_ids.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("run", [1, 4, 2048])
@pytest.mark.parametrize("samples", [1, 4, 32])
def test_vectors_come_beside_their_tracklets_wherever_they_lie(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch, run: int, samples: int
) -> None:
    monkeypatch.setattr(vector_runs, "_RUN", run)
    monkeypatch.setattr(vector_runs, "_SAMPLES", samples)
    rng = np.random.default_rng(run + samples)
    looks = unit_vectors(rng, 24)
    decide(store, *(rng.permutation(20) + 1).tolist())
    in_order = store.decided(OLD, 0, 99)[0].track_ids.tolist()
    # In order, then far off, then whoever is not decided, then as chance has it; two have no vector.
    written = [*in_order[:6], *in_order[:13:-1], 21, 22, *rng.permutation(in_order[6:12]).tolist()]
    for each in written:
        store.add_vectors([embedding(track_id=each, digest=NEW, vector=looks[each - 1])])
    found, position = [], 0
    while (page := store.decided(NEW, position, 7))[0].tracklet_ids:
        rows, position = page
        np.testing.assert_array_equal(rows.vectors, looks[rows.track_ids - 1].astype(np.float16))
        found += rows.track_ids.tolist()
    assert found == [each for each in in_order if each in written]


def test_vectors_of_two_lengths_are_refused(store: SqlStore) -> None:
    decide(store, 1)
    store.add_vectors([named(1)])
    decide(store, 2)
    short = unit_vectors(np.random.default_rng(0), 1, 8)[0]
    store.add_vectors([embedding(track_id=2, digest=NEW, vector=short)])
    with pytest.raises(ModelVersionMismatch, match="expected one dimension per digest"):
        store.decided(NEW, 0, 9)


# --- what is missing --------------------------------------------------------------------------------------------------


def test_archived_people_without_a_vector_are_missing_until_it_comes(store: SqlStore) -> None:
    archive(store, 1, 2, 3)
    decide(store, 1, 2, 3, 4)  # of 4 no crop was kept, so nothing can be made up
    assert (missing(store, OLD), missing(store)) == ([], [1, 2, 3])
    assert store.coverage(NEW) == Coverage(covered=0, expected=3, failed=0)
    store.add_vectors([named(2)])
    assert missing(store) == [1, 3]
    assert store.coverage(NEW) == Coverage(covered=1, expected=3, failed=0)
    assert store.coverage(NEW).share == pytest.approx(1 / 3)


def test_the_undecided_are_missing_only_when_asked_for_and_late(store: SqlStore) -> None:
    archive(store, 1)
    assert missing(store) == []
    assert missing(store, undecided_before=4.0) == []  # it ended at 4
    assert missing(store, undecided_before=4.1) == [1]
    assert store.coverage(NEW) == Coverage(0, 0, 0)


def test_what_cannot_be_embedded_is_counted_and_waited_for_no_more(store: SqlStore) -> None:
    archive(store, 1, 2)
    decide(store, 1, 2)
    failure = FailedEmbedding(named(1).tracklet_id, NEW, "crop 0 is gone" * 99)
    store.note_failures([failure, failure], NOW)
    store.note_failures([failure], NOW)
    assert missing(store) == [2]
    assert store.coverage(NEW) == Coverage(covered=0, expected=1, failed=1)
    assert store.coverage("a-third-model").failed == 0


def test_the_archive_is_walked_by_the_ends_of_tracklets_and_on_from_any_of_them(store: SqlStore) -> None:
    for track_id, ended_at in ((5, 30.0), (6, 10.0), (8, 20.0), (7, 20.0)):
        store.archive_tracklet(tracklet(track_id, crop(b"jpeg")).model_copy(update={"ended_at": ended_at}))
    decide(store, 5, 6, 7, 8)
    first = store.missing(NEW, START, 2)
    rest = store.missing(NEW, first[-1], 9)
    assert [tracklet_parts(place.tracklet_id)[2] for place in first + rest] == [6, 7, 8, 5]


# --- which model serves -----------------------------------------------------------------------------------------------


def test_the_first_switch_needs_no_vectors_and_a_later_one_needs_them_all(store: SqlStore) -> None:
    archive(store, 1, 2)
    decide(store, 1, 2)
    assert store.model_switches(1) == []
    first = store.switch_model(OLD, 0, NOW, "first")
    assert first is not None and store.model_switches(9) == [first]
    assert store.switch_model(NEW, 1, NOW, "promoted") is None
    store.add_vectors([named(1)])
    assert store.switch_model(NEW, 1, NOW, "promoted") is None
    store.note_failures([FailedEmbedding(named(2).tracklet_id, NEW, "gone")], NOW)
    second = store.switch_model(NEW, 1, NOW + 5, "promoted")
    assert second is not None
    assert (second.number, second.model_digest, second.switched_at, second.reason) == (2, NEW, NOW + 5, "promoted")
    assert store.model_switches(9) == [second, first]


def test_of_two_who_switch_at_once_the_second_changes_nothing(store: SqlStore) -> None:
    store.switch_model(OLD, 0, NOW, "first")
    assert store.switch_model(NEW, 0, NOW, "first") is None
    store.switch_model(NEW, 1, NOW, "promoted")
    assert store.switch_model("a-third-model", 1, NOW, "promoted") is None
    assert [switch.model_digest for switch in store.model_switches(9)] == [NEW, OLD]


def test_an_empty_archive_is_covered_at_once(store: SqlStore) -> None:
    decide(store, 1)
    store.switch_model(OLD, 0, NOW, "first")
    assert store.switch_model(NEW, 1, NOW, "promoted") is not None


def test_a_database_that_was_used_before_tells_its_model_by_its_newest_vector(store: SqlStore) -> None:
    assert store.newest_vector_digest() is None
    decide(store, 1)
    decide(store, 2, digest=NEW)
    assert store.newest_vector_digest() == NEW
