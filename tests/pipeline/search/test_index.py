"""The index follows the database: new rows, merges, splits, erasures; never another model's vectors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.store import SqlStore
from pipeline.contracts import CameraId, GlobalId, IdentityEventKind, TrackletId
from pipeline.decisions import Decision, Revision
from pipeline.forgetting import ErasureRequest, Found, Kind, Left
from pipeline.search import index as index_module
from pipeline.search.index import VectorIndex
from pipeline.search.query import Ask, Calibration, Filters, rank
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


def test_a_question_is_compared_with_who_is_who_now(changes: Changes, index: VectorIndex) -> None:
    names = [changes.add(track, track) for track in (1, 2, 3, 4)]
    before = index.refresh()
    changes.merge(2, 1)
    changes.split(3, 5, names[2], is_new=True)
    changes.erase(4)
    ask = Ask.alike(before.vectors[1], Filters(), Calibration(10.0, -5.0, 0.5))
    near = index.near(ask)
    found = rank(ask, near.rows, near.chosen).candidates
    assert near.candidates == len(found) == 2
    assert found[0].global_id == 1 and {c.global_id for c in found} == {1, 5}
    changes.add(6, 6)
    assert index.near(ask).candidates == 3


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


steps = st.one_of(
    st.tuples(st.just("add"), st.integers(1, 4), st.sampled_from(["gate", "hall"])),
    st.tuples(st.just("merge"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("split"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("erase"), st.integers(0, 3)),
    st.tuples(st.just("outlive"), st.integers(0, 12), st.sampled_from(["gate", "hall"])),
    st.tuples(st.just("finish")),
)


class Changed:
    """A store in memory that is changed by steps, as far as they fit; its tracklets begin one second after another."""

    def __init__(self) -> None:
        self.store = SqlStore.in_memory()
        self._track = 0

    def take(self, name: str, *values: object) -> None:
        getattr(self, f"_{name}")(*values)

    def _add(self, place: int, camera: str) -> None:
        self._track += 1
        people = self._people()
        chosen = people[place % len(people)] if people and place < 4 else self.store.next_global_id()
        look = unit_vectors(np.random.default_rng(self._track), 1)[0]
        seen = embedding(camera, self._track, started_at=self._track, ended_at=self._track + 1.5, vector=look)
        if not self.store.gone([seen], Kind.VECTORS):
            is_new = chosen not in people
            self.store.commit_decisions([Decision(seen, GlobalId(chosen), is_new, 0.9, "test")], 50.0)

    def _merge(self, one: int, other: int) -> None:
        people = self._people()
        if people and (into := people[one % len(people)]) != (gone := people[other % len(people)]):
            self._revise(Revision(IdentityEventKind.MERGED, gone, into, 1.0, "test"))

    def _split(self, one: int, other: int) -> None:
        people = self._people()
        if people:
            person = people[one % len(people)]
            names = [name for stay in self.store.route(person) for name in stay.tracklet_ids]
            if len(names) > 1:
                to = self.store.next_global_id()
                split = (names[other % len(names)],)
                self._revise(Revision(IdentityEventKind.SPLIT, person, to, 1.0, "test", split, is_new=True))

    def _erase(self, place: int) -> None:
        if people := self._people():
            person = people[place % len(people)]
            number = self.store.add_erasure(ErasureRequest(person, "anna", "case 7"), Found(), 8.0)
            self.store.erase(number, 9.0, 1e12)

    def _outlive(self, mark: int, camera: str) -> None:
        self.store.advance_marks(CameraId(camera), {Kind.VECTORS: float(mark)})

    def _finish(self) -> None:
        for receipt in self.store.unfinished_erasures():
            self.store.finish_erasure(receipt.number, Left(), 10.0)

    def _revise(self, revision: Revision) -> None:
        self.store.commit_decisions((), 60.0, [revision])

    def _people(self) -> list[GlobalId]:
        held, _ = self.store.gallery(DIGEST, "language", 0, 100)
        return [GlobalId(number) for number in sorted(set(held.global_ids.tolist()))]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(steps, st.booleans()), min_size=4, max_size=20))
def test_whatever_is_dropped_the_crowd_is_that_of_an_index_built_anew(
    taken: list[tuple[tuple[Any, ...], bool]],
) -> None:
    changed = Changed()
    index = VectorIndex(changed.store, DIGEST, "language")
    for (name, *values), is_followed in taken:
        changed.take(name, *values)
        if is_followed:
            index.refresh()
    assert crowd_of(index) == crowd_of(VectorIndex(changed.store, DIGEST, "language"))
    changed.store.close()


def crowd_of(index: VectorIndex) -> dict[str, object]:
    """What a crowd holds of everybody, by the names of tracklets; it must agree with the rows."""
    rows, crowd = index.refresh(), index._crowd
    living = {number: place for number, place in crowd._places.items() if crowd._counts[place]}
    own = {number: crowd._rows_of(np.array([place])) for number, place in crowd._places.items()}
    assert {number: len(held) for number, held in own.items()} == {
        number: crowd._counts[place] for number, place in crowd._places.items()
    }
    assert all((rows.global_ids[held] == number).all() for number, held in own.items())
    assert index._owners[: len(rows)].tolist() == [crowd._places[number] for number in rows.global_ids.tolist()]
    return {
        "tracklets": {n: {rows.tracklet_ids[row] for row in own[n]} for n in living},
        "sums": {n: np.round(crowd._sums[place], 4).tolist() for n, place in living.items()},
        "in_view_s": {n: round(float(crowd._in_view_s[place]), 6) for n, place in living.items()},
    }


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
