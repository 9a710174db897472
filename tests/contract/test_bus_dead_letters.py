"""What nobody can read, or whoever reads dies of, is set aside on every bus, and comes again when it is wanted."""

from __future__ import annotations

import time

import pytest

from pipeline.adapters.bus_rules import BusConfig
from pipeline.contracts import MAX_MESSAGE_BYTES, encode
from pipeline.interfaces import Bus
from tests.contract.buses import CROPS, Place, number, numbers, seen, take
from tests.fakes import event

GARBAGE: dict[str, dict[bytes, bytes]] = {
    "no fields that we know": {b"a": b"b"},
    "unknown type": {b"type": b"Nonsense", b"version": b"1", b"body": b"\x80"},
    "another version": {**{key.encode(): value for key, value in encode(seen(1)).items()}, b"version": b"99"},
    "random bytes": {b"type": b"TrackletCrops", b"version": b"1", b"body": bytes(range(256))},
    "truncated body": {b"type": b"TrackletCrops", b"version": b"1", b"body": encode(seen(1))["body"][:-3]},
    "a message of another stream": {key.encode(): value for key, value in encode(event(1)).items()},
    "an oversized field": {b"type": b"TrackletCrops", b"version": b"1", b"body": bytes(MAX_MESSAGE_BYTES + 1_000_000)},
    "an oversized field that we do not know": {b"more": bytes(5_000_000)},
}


def test_a_message_that_kills_its_consumer_is_set_aside_and_its_neighbours_are_not(place: Place) -> None:
    place.connect(BusConfig()).publish(CROPS, [seen(each) for each in range(6)])
    done: list[int] = []
    crashes = 0
    while True:
        bus = place.connect(BusConfig())  # the consumer starts again
        while batch := take(bus):
            if 3 in numbers(batch):
                crashes += 1
                break
            bus.acknowledge(batch, "embedder")
            done += numbers(batch)
        else:
            break
    assert (sorted(done), crashes) == ([0, 1, 2, 4, 5], 3)
    assert [(letter.group, letter.stream) for letter in bus.dead_letters(10)] == [("embedder", CROPS)]


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_an_unreadable_entry_is_set_aside_and_its_neighbours_arrive(
    place: Place, bus: Bus, garbage: dict[bytes, bytes]
) -> None:
    bus.publish(CROPS, [seen(1)])
    place.inject(CROPS, garbage)
    bus.publish(CROPS, [seen(2)])
    assert numbers(take(bus)) == [1, 2]
    (letter,) = bus.dead_letters(10)
    assert letter.reason
    assert letter.fields in (garbage, {})
    assert bus.backlog(CROPS, "embedder").pending == 2


def test_the_content_of_an_oversized_entry_is_not_kept(place: Place, bus: Bus) -> None:
    place.inject(CROPS, GARBAGE["an oversized field"])
    take(bus)
    (letter,) = bus.dead_letters(1)
    assert letter.fields == {}
    assert "not kept" in letter.reason
    assert bus.replay([letter.entry_id]) == 0
    assert len(bus.dead_letters(10)) == 1


def test_setting_aside_keeps_the_message_and_the_reason_and_acknowledges(bus: Bus) -> None:
    bus.publish(CROPS, [seen(7)])
    (delivery,) = take(bus)
    before = time.time()
    bus.set_aside(delivery, "embedder", "crop 0 cannot be decoded")
    (letter,) = bus.dead_letters(10)
    assert (letter.stream, letter.group, letter.reason) == (CROPS, "embedder", "crop 0 cannot be decoded")
    assert letter.fields == {key.encode(): value for key, value in encode(seen(7)).items()}
    assert before - 1.0 <= letter.failed_at <= time.time() + 1.0
    assert bus.backlog(CROPS, "embedder").pending == 0


def test_the_newest_dead_letters_come_first(bus: Bus) -> None:
    bus.publish(CROPS, [seen(each) for each in range(3)])
    for delivery in take(bus):
        bus.set_aside(delivery, "embedder", f"reason {number(delivery.message)}")
    assert [letter.reason for letter in bus.dead_letters(2)] == ["reason 2", "reason 1"]


def test_a_replayed_dead_letter_comes_again_as_new_and_is_dead_no_more(bus: Bus) -> None:
    bus.publish(CROPS, [seen(7)])
    bus.set_aside(take(bus)[0], "embedder", "no memory")
    (letter,) = bus.dead_letters(10)
    assert bus.replay([letter.entry_id, letter.entry_id, "1-1"]) == 1
    assert bus.dead_letters(10) == []
    assert [(number(each.message), each.delivered) for each in take(bus)] == [(7, 1)]


def test_dead_letters_stay_within_their_bytes_and_the_newest_remain(place: Place) -> None:
    bus = place.connect(BusConfig(max_dead_bytes=100_000))
    bus.publish(CROPS, [seen(each, bytes(10_000)) for each in range(30)])
    for delivery in take(bus):
        bus.set_aside(delivery, "embedder", f"reason {number(delivery.message)}")
    letters = bus.dead_letters(100)
    assert 3 <= len(letters) <= 10
    assert letters[0].reason == "reason 29"
