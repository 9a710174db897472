"""Identity events on their way out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.store import SqlStore
from pipeline.contracts import GlobalId, IdentityEvent, Message, StreamName
from pipeline.decisions import Decision
from pipeline.errors import Unavailable
from pipeline.interfaces import Bus, Store
from pipeline.matching.publisher import Publisher
from tests.fakes import HandClock, embedding
from tests.pipeline.matching.one_matcher import Interrupted, bus


def decided(store: SqlStore, number: int) -> list[IdentityEvent]:
    """A tracklet, of somebody new."""
    return store.commit_decisions([Decision(embedding("gate", number), GlobalId(number), True, 1.0, "new")], 5.0)


def told(stream: MemoryBus) -> list[Message]:
    """Whatever went out, repeats included."""
    return [delivery.message for delivery in stream.consume(StreamName.IDENTITIES, "reader", "reader-1", 100, 0.0)]


def numbers(events: Sequence[Message]) -> list[int]:
    return [event.event_id for event in events if isinstance(event, IdentityEvent)]


def test_committed_events_go_out_as_the_database_holds_them(store: SqlStore) -> None:
    stream = bus()
    publisher = Publisher(stream, store, HandClock())
    for number in (1, 2, 3):
        publisher.publish(decided(store, number))
    assert told(stream) == store.events_after(0, 9)
    assert store.unpublished_events(9) == []


def test_what_is_committed_is_not_read_back_once_everything_before_went_out(store: SqlStore) -> None:
    stream, asked_again = bus(), AssertionError("read back")
    once = Interrupted(store, asked_again, 2, method="unpublished_events")
    publisher = Publisher(stream, cast(Store, once), HandClock())
    publisher.publish()
    publisher.publish(decided(store, 1))
    publisher.publish(decided(store, 2))
    assert numbers(told(stream)) == [1, 2]


def test_what_was_left_behind_goes_out_first(store: SqlStore) -> None:
    stream = bus()
    publisher = Publisher(stream, store, HandClock())
    for number in (1, 3, 5):
        decided(store, number)
        publisher.publish(decided(store, number + 1))
    assert numbers(told(stream)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("method", "expected"), [("publish", [1, 2, 3]), ("mark_published", [1, 2, 2, 3])])
def test_after_an_error_nothing_is_left_out(store: SqlStore, method: str, expected: list[int]) -> None:
    stream, error = bus(), Unavailable("away")
    torn_bus = Interrupted(stream, error, 1 if method == "publish" else 99, method="publish")
    torn_store = Interrupted(store, error, 1 if method == "mark_published" else 99, method="mark_published")
    publisher = Publisher(cast(Bus, torn_bus), cast(Store, torn_store), HandClock())
    publisher.publish(decided(store, 1))
    with pytest.raises(Unavailable):
        publisher.publish(decided(store, 2))
    publisher.publish(decided(store, 3))
    assert numbers(told(stream)) == expected
