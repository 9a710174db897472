"""Reading the memory back from the database."""

from __future__ import annotations

import gc
import weakref
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.adapters.store import SqlStore
from pipeline.contracts import I64, StreamName
from pipeline.errors import Unavailable
from pipeline.kept import GalleryRows, Thoughts
from pipeline.matching import recall
from pipeline.matching.people import MemoryConfig, People
from pipeline.matching.tracks import Spans
from tests.fakes import DIGEST
from tests.pipeline.matching.one_matcher import bus, site, worker


def decided_site() -> SqlStore:
    """The database of a matcher that has seen a whole site."""
    stream, store = bus(), SqlStore.in_memory()
    stream.publish(StreamName.EMBEDDINGS, site(60))
    matcher = worker(stream, store)
    while matcher.run_once():
        pass
    return store


def nobody() -> People:
    return People(ExactGallery(64), 64, MemoryConfig())


@pytest.mark.parametrize("page", [1, 7, 60, 100])
def test_all_pages_are_taken_in_once_and_in_order(monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(recall, "_PAGE_ROWS", page)
    store = decided_site()
    people, expected = nobody(), nobody()
    recall.recall(people, store, DIGEST)
    everything, _ = store.decided(DIGEST, 0, 1000)
    assert len(everything.tracklet_ids) == 60
    expected.remember(everything)
    assert people.tracklets == 60 and people.exemplars.identities() == expected.exemplars.identities()
    for number in people.exemplars.identities():
        assert people.exemplars.of(number) == expected.exemplars.of(number)
        assert people.tracks.tracks(number) == expected.tracks.tracks(number)
    for found, wanted in zip(columns(people.tracks.everything()), columns(expected.tracks.everything()), strict=True):
        np.testing.assert_array_equal(found, wanted)


def columns(spans: Spans) -> list[Any]:
    return [getattr(spans, each.name) for each in fields(spans)]


def test_pages_of_which_nobody_has_a_vector_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "_PAGE_ROWS", 7)
    store, people = decided_site(), nobody()
    in_order = {name: place for place, name in enumerate(store.decided(DIGEST, 0, 99)[0].tracklet_ids)}
    late = [seen for seen in site(60) if 20 <= in_order[seen.tracklet_id] < 23 or in_order[seen.tracklet_id] == 50]
    store.add_vectors([seen.model_copy(update={"model_digest": "another-model"}) for seen in late])
    recall.recall(people, store, "another-model")
    assert people.tracklets == 4


class Failing:
    """A database that goes away after a page."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def decisions(self, after_event: int, limit: int) -> tuple[GalleryRows, I64]:
        assert not gc.isenabled(), "whatever is read stays: nothing is worth looking for"
        self.asked.append(after_event)
        if after_event:
            raise Unavailable("the database does not answer")
        return decided_site().decisions(0, 5)

    def most_vectors(self, model_digest: str) -> int:
        return 60

    def with_vectors(self, model_digest: str, rows: GalleryRows, events: I64) -> tuple[GalleryRows, I64]:
        return replace(rows, vectors=np.eye(len(events), 64, dtype=np.float32)), events

    def thoughts(self, events: I64) -> Thoughts:
        raise AssertionError(f"nobody waits for what was thought at {len(events)} events")


def test_a_database_that_goes_away_is_noticed_and_the_collector_goes_on() -> None:
    store = Failing()
    with pytest.raises(Unavailable):
        recall.recall(nobody(), store, DIGEST)
    assert len(store.asked) == 2 and store.asked[0] == 0
    assert gc.isenabled()


def test_a_large_memory_is_never_looked_through_and_goes_when_it_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "_MANY", 50)
    store, former = decided_site(), nobody()
    recall.recall(former, store, DIGEST)
    assert gc.get_freeze_count()
    former.__dict__["itself"] = former  # as the traceback of an error may hold it
    gone = weakref.ref(former)
    del former
    recall.recall(nobody(), store, DIGEST)
    assert gone() is None
    gc.unfreeze()
