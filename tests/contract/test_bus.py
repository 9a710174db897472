"""What every bus promises, asked of the one in memory and of the real servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from pipeline.adapters.bus_rules import BusConfig
from pipeline.contracts import (
    Message,
    TrackletCrops,
)
from pipeline.errors import InvalidMessage
from pipeline.interfaces import Bus, Delivery
from tests.contract.buses import CROPS, Place, number, numbers, seen, take, take_all
from tests.fakes import crop, event, tracklet


def test_messages_arrive_whole_and_in_order(bus: Bus) -> None:
    sent = [seen(each) for each in range(5)]
    bus.publish(CROPS, sent[:3])
    bus.publish(CROPS, sent[3:])
    assert [delivery.message for delivery in take(bus)] == sent


def test_a_new_message_is_delivered_for_the_first_time(bus: Bus) -> None:
    bus.publish(CROPS, [seen(1)])
    assert [(each.stream, each.delivered) for each in take(bus)] == [(CROPS, 1)]


def test_no_more_messages_come_than_asked_for(bus: Bus) -> None:
    bus.publish(CROPS, [seen(each) for each in range(5)])
    assert numbers(take(bus, count=2)) == [0, 1]
    assert numbers(take(bus, count=2)) == [2, 3]


def test_a_group_that_appears_late_gets_everything(bus: Bus) -> None:
    bus.publish(CROPS, [seen(1)])
    assert numbers(take(bus, group="archiver")) == [1]


def test_each_group_gets_each_message(bus: Bus) -> None:
    bus.publish(CROPS, [seen(1)])
    assert numbers(take(bus, group="embedder")) == numbers(take(bus, group="archiver")) == [1]


def test_consumers_of_one_group_share_the_messages(bus: Bus) -> None:
    bus.publish(CROPS, [seen(each) for each in range(4)])
    first, second = take(bus, consumer="one", count=2), take(bus, consumer="two")
    assert (numbers(first), numbers(second)) == ([0, 1], [2, 3])


def test_waiting_ends_when_a_message_comes(bus: Bus) -> None:
    take(bus)
    later = threading.Timer(0.1, lambda: bus.publish(CROPS, [seen(1)]))
    later.start()
    assert numbers(bus.consume(CROPS, "embedder", "one", 10, 30.0)) == [1]
    later.join()


def test_a_restarted_consumer_gets_what_it_left_before_anything_new(place: Place, bus: Bus) -> None:
    bus.publish(CROPS, [seen(1), seen(2), seen(3)])
    done = take(bus, count=2)
    bus.acknowledge(done[:1], "embedder")
    again = take_all(place.connect(BusConfig()))
    assert [(number(each.message), each.delivered) for each in again] == [(2, 2), (3, 1)]


def test_acknowledged_messages_never_come_again(place: Place, bus: Bus) -> None:
    bus.publish(CROPS, [seen(1), seen(2)])
    bus.acknowledge(take(bus), "embedder")
    assert take_all(place.connect(BusConfig())) == []


def test_acknowledging_twice_changes_nothing(bus: Bus) -> None:
    bus.publish(CROPS, [seen(1)])
    done = take(bus)
    bus.acknowledge(done, "embedder")
    bus.acknowledge(done, "embedder")
    bus.acknowledge([], "embedder")
    assert bus.backlog(CROPS, "embedder").pending == 0


def test_acknowledging_in_one_group_leaves_the_other_alone(bus: Bus) -> None:
    bus.publish(CROPS, [seen(1)])
    deliveries = take(bus)
    take(bus, group="archiver")
    bus.acknowledge(deliveries, "embedder")
    assert bus.backlog(CROPS, "archiver").pending == 1


def test_what_a_vanished_consumer_left_goes_to_another(place: Place) -> None:
    config = BusConfig(claim_idle_s=0.5)
    gone, other = place.connect(config), place.connect(config)
    gone.publish(CROPS, [seen(1), seen(2)])
    take(gone, consumer="gone")
    assert take(other, consumer="other") == []
    found: list[Delivery] = []
    while len(found) < 2:
        time.sleep(0.02)
        fresh = take(other, consumer="other")
        other.acknowledge(fresh, "embedder")
        found += fresh
    assert [(number(each.message), each.delivered) for each in found] == [(1, 2), (2, 2)]


def test_messages_handed_out_again_come_one_at_a_time(place: Place, bus: Bus) -> None:
    bus.publish(CROPS, [seen(each) for each in range(3)])
    take(bus)
    assert numbers(take(place.connect(BusConfig()))) == [0]


def test_the_backlog_tells_waiting_from_pending(bus: Bus) -> None:
    assert (bus.backlog(CROPS, "embedder").waiting, bus.backlog(CROPS, "embedder").pending) == (0, 0)
    bus.publish(CROPS, [seen(each) for each in range(5)])
    assert bus.backlog(CROPS, "embedder").waiting == 5
    bus.acknowledge(take(bus, count=3)[:1], "embedder")
    backlog = bus.backlog(CROPS, "embedder")
    assert (backlog.waiting, backlog.pending) == (2, 2)


def test_a_message_for_another_stream_is_refused(bus: Bus) -> None:
    with pytest.raises(InvalidMessage, match="carries TrackletCrops"):
        bus.publish(CROPS, [event(1)])


def test_a_message_too_large_for_any_reader_is_refused_and_nothing_of_the_call_is_sent(bus: Bus) -> None:
    large = tracklet(2, *[crop(bytes(500_000))] * 9)
    with pytest.raises(InvalidMessage, match="at most"):
        bus.publish(CROPS, [seen(1), large])
    assert bus.backlog(CROPS, "embedder").waiting == 0


def test_after_a_restart_with_empty_data_the_loop_goes_on(place: Place, bus: Bus) -> None:
    bus.publish(CROPS, [seen(1)])
    old = take(bus)
    place.forget()
    assert take(bus) == []
    bus.acknowledge(old, "embedder")
    assert bus.trim() == 0
    bus.publish(CROPS, [seen(2)])
    assert numbers(take(bus)) == [2]


def test_publishing_nothing_does_nothing(bus: Bus) -> None:
    bus.publish(CROPS, [])
    assert bus.backlog(CROPS, "embedder").waiting == 0


def gate_is_gone(messages: Sequence[Message]) -> list[bool]:
    return [isinstance(each, TrackletCrops) and each.camera_id == "gate" for each in messages]


def test_what_is_discarded_is_delivered_to_nobody_wherever_it_stood(place: Place, bus: Bus) -> None:
    bus.publish(CROPS, [seen(number) for number in range(4)] + [tracklet(9, crop(b"jpeg"), camera_id="hall")])
    in_hand = bus.consume(CROPS, "embedder", "e1", 3, 0.0)
    bus.set_aside(in_hand[0], "embedder", "test")
    assert bus.discard(CROPS, gate_is_gone) == 5  # four that waited or were in hand, and a dead letter
    restarted = place.connect(BusConfig())
    for group in ("embedder", "archiver"):
        left = [each.message for each in _all(restarted, group)]
        assert [each.camera_id for each in left if isinstance(each, TrackletCrops)] == ["hall"]
    assert bus.dead_letters(9) == [] and bus.discard(CROPS, gate_is_gone) == 0
    bus.acknowledge(in_hand, "embedder")


def test_only_what_is_older_than_asked_for_is_discarded(place: Place, bus: Bus) -> None:
    place.inject(CROPS, {b"type": b"Nonsense"})
    bus.publish(CROPS, [seen(1)])
    assert bus.discard(CROPS, gate_is_gone, before_at=time.time() - 3600.0) == 0
    assert bus.discard(CROPS, gate_is_gone, before_at=time.time() + 3600.0) == 1


def _all(bus: Bus, group: str) -> list[Delivery]:
    found: list[Delivery] = []
    while more := bus.consume(CROPS, group, f"{group}-1", 9, 0.0):
        found += more
    return found
