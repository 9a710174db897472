"""The matcher's loop: what arrives is decided, kept, published and acknowledged, once each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pipeline.adapters.store import SqlStore
from pipeline.contracts import StreamName, TrackletEmbedding
from pipeline.errors import Unavailable
from pipeline.matching import worker as worker_module
from pipeline.matching.worker import GROUP
from tests.fakes import DIGEST, SetModels, embedding, unit_vectors
from tests.pipeline.matching.one_matcher import (
    CONFIG,
    Interrupted,
    bus,
    outcome,
    published,
    site,
    worker,
)


def test_a_batch_is_committed_published_and_acknowledged(store: SqlStore) -> None:
    stream = bus()
    stream.publish(StreamName.EMBEDDINGS, site(5))
    assert worker(stream, store).run_once() == 5
    assert [event.event_id for event in outcome(store)] == [1, 2, 3, 4, 5]
    assert published(stream) == outcome(store)
    assert stream.backlog(StreamName.EMBEDDINGS, GROUP).pending == 0
    assert store.unpublished_events(10) == []


def test_without_messages_a_round_is_quiet(store: SqlStore) -> None:
    assert worker(bus(), store).run_once() == 0


def test_duplicates_change_nothing(store: SqlStore) -> None:
    stream, tracklets = bus(), site(6)
    stream.publish(StreamName.EMBEDDINGS, [*tracklets[:3], tracklets[0]])
    matcher = worker(stream, store)
    matcher.run_once()
    first = outcome(store)
    stream.publish(StreamName.EMBEDDINGS, tracklets[:3])
    matcher.run_once()
    assert outcome(store) == first
    assert len(first) == 3


def test_a_later_batch_remembers_people_tracks_and_who_is_where(store: SqlStore) -> None:
    stream = bus()
    matcher = worker(stream, store)
    look = unit_vectors(np.random.default_rng(0), 1)[0]
    for tracklet in (
        embedding("gate", 1, 0, started_at=0, ended_at=4, vector=look),
        embedding("gate", 1, 1, started_at=4.2, ended_at=8, vector=-look),  # the same track, whatever it looks like
        embedding("gate", 2, 0, started_at=6, ended_at=9, vector=look),  # at the same time in the same camera
        embedding("hall", 1, 0, started_at=20, ended_at=24, vector=look),
    ):
        stream.publish(StreamName.EMBEDDINGS, [tracklet])
        matcher.run_once()
    assert [event.global_id for event in outcome(store)] == [1, 1, 2, 2]
    assert [event.is_new for event in outcome(store)] == [True, False, True, False]


def test_vectors_of_another_model_are_set_aside_with_the_remedy(store: SqlStore) -> None:
    stream = bus()
    stream.publish(StreamName.EMBEDDINGS, [embedding(), embedding(track_id=2, digest="another-model")])
    worker(stream, store).run_once()
    letter = stream.dead_letters(5)[0]
    assert "another-model" in letter.reason
    assert DIGEST in letter.reason
    assert "replay" in letter.reason
    assert len(outcome(store)) == 1


def test_the_wanted_model_counts_and_not_the_first_one_seen(store: SqlStore) -> None:
    stream = bus()
    stream.publish(StreamName.EMBEDDINGS, [embedding(digest="another-model"), embedding(track_id=2)])
    worker(stream, store, SetModels(DIGEST)).run_once()
    assert [event.tracklet_ids for event in outcome(store)] == [("gate/b1/2/0",)]


def test_a_vector_of_another_length_is_set_aside(store: SqlStore) -> None:
    stream = bus()
    short = embedding(track_id=2, vector=np.eye(1, 8, dtype=np.float32)[0])
    stream.publish(StreamName.EMBEDDINGS, [embedding(), short])
    worker(stream, store).run_once()
    assert "8 numbers" in stream.dead_letters(5)[0].reason
    assert len(outcome(store)) == 1


def test_while_the_bus_is_away_the_batch_stays_in_hand(store: SqlStore) -> None:
    stream = bus()
    stream.publish(StreamName.EMBEDDINGS, site(5))
    interrupted = Interrupted(stream, Unavailable("away"), after=1)  # away as soon as the batch was read
    matcher = worker(interrupted, store)
    with pytest.raises(Unavailable):
        matcher.run_once()
    assert matcher.run_once() == 5
    assert published(stream) == outcome(store)


def test_a_tracklet_that_the_matcher_stumbles_over_is_set_aside_alone(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = worker_module.People.decide

    def stumbling(people: Any, batch: Sequence[TrackletEmbedding], first: Any) -> Any:
        if any(tracklet.track_id == 13 for tracklet in batch):
            raise ArithmeticError("thirteen")
        return decide(people, batch, first)

    monkeypatch.setattr(worker_module.People, "decide", stumbling)
    stream = bus()
    stream.publish(StreamName.EMBEDDINGS, [embedding(track_id=number) for number in (12, 13, 14)])
    matcher = worker(stream, store)
    for _ in range(CONFIG.attempts - 1):
        with pytest.raises(ArithmeticError):
            matcher.run_once()
    matcher.run_once()
    assert [letter.reason for letter in stream.dead_letters(5)] == [
        "the matcher failed on it: ArithmeticError: thirteen"
    ]
    assert {event.tracklet_ids for event in outcome(store)} == {("gate/b1/12/0",), ("gate/b1/14/0",)}
    assert stream.backlog(StreamName.EMBEDDINGS, GROUP).pending == 0


def test_two_matchers_by_mistake_give_no_number_to_two_people(store: SqlStore) -> None:
    looks = unit_vectors(np.random.default_rng(5), 2)
    streams = bus(), bus()
    for number, stream in enumerate(streams):
        stream.publish(StreamName.EMBEDDINGS, [embedding("gate", number, vector=looks[number])])
    other = worker(streams[1], store)

    class Overtaken:
        """The store of a matcher that another one overtakes, once, between drawing a number and committing."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def next_global_id(self) -> int:
            drawn = store.next_global_id()
            other.run_once()
            return drawn

    slow = worker(streams[0], Overtaken())  # type: ignore[arg-type]  # a proxy
    with pytest.raises(Unavailable, match="given out by now"):
        slow.run_once()
    assert slow.run_once() == 1
    assert sorted(event.global_id for event in outcome(store)) == [1, 2]
