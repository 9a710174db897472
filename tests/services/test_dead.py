"""What the operator does with messages that were set aside."""

from __future__ import annotations

from pipeline.adapters.memory_bus import MemoryBus
from pipeline.contracts import StreamName
from services.dead import replay
from tests.fakes import event


def bus_with_letters(count: int) -> MemoryBus:
    bus = MemoryBus()
    bus.publish(StreamName.IDENTITIES, [event(number) for number in range(1, count + 1)])
    for delivery in bus.consume(StreamName.IDENTITIES, "reader", "one", count, 0.0):
        bus.set_aside(delivery, "reader", "test")
    return bus


def test_without_names_all_are_sent_again_in_the_order_in_which_they_failed() -> None:
    bus = bus_with_letters(3)
    assert replay(bus, []) == 3
    again = bus.consume(StreamName.IDENTITIES, "reader", "one", 10, 0.0)
    assert [delivery.message for delivery in again] == [event(1), event(2), event(3)]
    assert bus.dead_letters(10) == []


def test_only_those_named_are_sent_again() -> None:
    bus = bus_with_letters(3)
    newest, middle, oldest = bus.dead_letters(10)
    assert replay(bus, [middle.entry_id]) == 1
    assert [letter.entry_id for letter in bus.dead_letters(10)] == [newest.entry_id, oldest.entry_id]
