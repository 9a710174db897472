"""The index follows the database: new rows, merges, splits, erasures; never another model's vectors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.store import SqlStore
from pipeline.contracts import CameraId, GlobalId, IdentityEventKind, TrackletId
from pipeline.decisions import Decision, Revision
from pipeline.forgetting import ErasureRequest, Kind, Left
from pipeline.search import index as index_module
from pipeline.search.index import VectorIndex
from tests.fakes import DIGEST, DIMENSION, embedding, unit_vectors
from tests.small_site import file_store


class Changes:
    """A real store, and short ways to change it."""

    def __init__(self, folder: Path) -> None:
        self.store = file_store(folder)

    def add(self, track_id: int, global_id: int, digest: str = DIGEST) -> str:
        seen = embedding(track_id=track_id, vector=unit_vectors(np.random.default_rng(track_id), 1)[0], digest=digest)
        is_new = global_id >= self.store.next_global_id()
        self.store.commit_decisions([Decision(seen, GlobalId(global_id), is_new, 0.9, "test")], 5.0)
        return seen.tracklet_id

    def merge(self, from_id: int, to_id: int) -> None:
        self._revise(Revision(IdentityEventKind.MERGED, GlobalId(from_id), GlobalId(to_id), 1.0, "test"))

    def split(self, from_id: int, to_id: int, *tracklet_ids: str, is_new: bool = False) -> None:
        names = tuple(TrackletId(name) for name in tracklet_ids)
        people = GlobalId(from_id), GlobalId(to_id)
        self._revise(Revision(IdentityEventKind.SPLIT, *people, 1.0, "test", names, is_new))

    def _revise(self, revision: Revision) -> None:
        self.store.commit_decisions((), 9.0, [revision])

    def erase(self, global_id: int) -> None:
        request = ErasureRequest(GlobalId(global_id), "anna", "case 7")
        number = self.store.add_erasure(request, self.store.rehearse_erasure(GlobalId(global_id)), 8.0)
        self.store.erase(number, 9.0, 1e12)

    def finish(self, number: int) -> None:
        self.store.finish_erasure(number, Left(), 10.0)


@pytest.fixture
def changes(tmp_path: Path) -> Iterator[Changes]:
    changes = Changes(tmp_path)
    yield changes
    changes.store.close()


@pytest.fixture
def index(changes: Changes) -> VectorIndex:
    return VectorIndex(changes.store, DIGEST, "language")


def test_new_rows_are_added_in_order(changes: Changes, index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_SLAB_ROWS", 3)
    assert len(index.refresh()) == 0
    for track in range(8):
        changes.add(track, track + 1)
    rows = index.refresh()
    assert rows.global_ids.tolist() == list(range(1, 9))
    assert rows.vectors.shape == (8, DIMENSION)
    changes.add(8, 1)
    assert index.refresh().global_ids.tolist() == [*range(1, 9), 1]


def test_rows_in_hand_do_not_change(changes: Changes, index: VectorIndex) -> None:
    first, second = changes.add(1, 1), changes.add(2, 2)
    before = index.refresh()
    changes.add(3, 3)
    changes.merge(2, 1)
    changes.erase(1)
    index.refresh()
    assert len(before) == 2 and before.global_ids.tolist() == [1, 2]
    assert list(before.tracklet_ids)[:2] == [first, second]


def test_a_merge_a_split_and_an_erasure_are_followed(changes: Changes, index: VectorIndex) -> None:
    names = [changes.add(track, track) for track in (1, 2, 3, 4)]
    index.refresh()
    changes.merge(2, 1)
    changes.merge(3, 1)
    assert index.refresh().global_ids.tolist() == [1, 1, 1, 4]
    changes.split(1, 5, names[2], is_new=True)
    assert index.refresh().global_ids.tolist() == [1, 1, 5, 4]
    changes.erase(1)
    rows = index.refresh()
    assert rows.global_ids.tolist() == [5, 4]
    assert list(rows.tracklet_ids) == names[2:]
    assert np.array_equal(rows.of(GlobalId(4)), [1])


def test_an_index_that_begins_late_ends_where_one_that_followed_everything_does(
    changes: Changes, index: VectorIndex
) -> None:
    names = [changes.add(track, track) for track in (1, 2, 3)]
    for revise in (
        lambda: changes.merge(2, 1),
        lambda: changes.split(1, 2, names[1]),
        lambda: changes.merge(1, 3),
        lambda: changes.split(3, 4, names[0], is_new=True),
    ):
        revise()
        index.refresh()
    followed, late = index.refresh(), VectorIndex(changes.store, DIGEST, "language").refresh()
    assert followed.global_ids.tolist() == late.global_ids.tolist() == [4, 2, 3]


def test_vectors_of_an_erased_person_are_nowhere_in_memory(changes: Changes, index: VectorIndex) -> None:
    changes.add(1, 1)
    changes.add(2, 2)
    secret = index.refresh().vectors[0].copy()
    changes.erase(1)
    rows = index.refresh()
    held = rows.vectors if rows.vectors.base is None else rows.vectors.base
    assert not np.isclose(held, secret).all(axis=1).any()


def test_after_an_erasure_new_rows_still_fit(changes: Changes, index: VectorIndex) -> None:
    changes.add(1, 1)
    index.refresh()
    changes.erase(1)
    index.refresh()
    changes.add(2, 2)
    assert index.refresh().global_ids.tolist() == [2]


def test_an_index_that_follows_when_the_names_are_gone_reads_everything_again(
    changes: Changes, index: VectorIndex
) -> None:
    name = changes.add(1, 1)
    changes.add(2, 2)
    changes.add(3, 1)
    index.refresh()
    # The event of this split goes with the erased tracklet, so that nobody could follow it any more.
    changes.split(1, 3, name, is_new=True)
    changes.erase(3)
    changes.finish(1)
    assert index.refresh().global_ids.tolist() == [2, 1]
    assert list(index.refresh().tracklet_ids) == ["gate/b1/2/0", "gate/b1/3/0"]
    changes.add(4, 4)
    assert index.refresh().global_ids.tolist() == [2, 1, 4]


@settings(deadline=None, max_examples=12)
@given(marks=st.lists(st.sampled_from([0.0, 2.5, 5.0, 8.0]), max_size=3), late=st.booleans())
def test_no_vector_is_found_whose_pixels_may_be_gone(marks: list[float], late: bool) -> None:
    store = SqlStore.in_memory()
    index = VectorIndex(store, DIGEST, "appearance")
    seen = [embedding(track_id=track, started_at=float(track), ended_at=track + 1.0) for track in range(1, 9)]
    store.commit_decisions([Decision(each, GlobalId(n), True, 0.9, "test") for n, each in enumerate(seen, 1)], 5.0)
    if not late:
        index.refresh()
    for mark in marks:
        store.advance_marks(CameraId("gate"), {Kind.CROPS: mark})
        held = index.refresh()
        assert (held.started_at >= mark).all() and len(held.vectors) == len(held)
    assert sorted(index.refresh().started_at) == [t for t in range(1, 9) if t >= max(marks, default=0.0)]


def test_another_models_vectors_are_never_read(changes: Changes, index: VectorIndex) -> None:
    changes.add(1, 1)
    changes.add(2, 2, digest="fedcba9876543210")
    assert index.refresh().global_ids.tolist() == [1]


def test_many_threads_may_refresh_while_rows_arrive(changes: Changes, index: VectorIndex) -> None:
    for track in range(1, 21):
        changes.add(track, track)
    faults: list[str] = []

    def read() -> None:
        for _ in range(30):
            rows = index.refresh()
            if rows.global_ids.tolist() != list(range(1, len(rows) + 1)) or len(rows.vectors) != len(rows):
                faults.append(str(rows.global_ids))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for track in range(21, 61):
        changes.add(track, track)
    for thread in threads:
        thread.join()
    assert not faults
    assert len(index.refresh()) == 60
