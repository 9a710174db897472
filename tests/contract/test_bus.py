"""What every bus promises, asked of the one in memory and of the real servers."""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.adapters.bus_rules import GROUPS, BusConfig
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.redis_bus import RedisBus, site_key
from pipeline.adapters.redis_connection import RedisConnection
from pipeline.adapters.redis_server import EmbeddedRedis
from pipeline.contracts import (
    MAX_MESSAGE_BYTES,
    Message,
    StreamName,
    TrackletCrops,
    encode,
)
from pipeline.errors import BusFull, InvalidMessage
from pipeline.interfaces import Bus, Delivery
from tests.fakes import crop, event, tracklet
from tests.redis_cluster import RedisCluster

CROPS = StreamName.CROPS
SERVERS = {"valkey": None, "redis": shutil.which("redis-server")}  # None: the embedded one of the wheel


def seen(number: int, jpeg: bytes = b"jpeg") -> TrackletCrops:
    return tracklet(number, crop(jpeg))


@dataclass(frozen=True)
class Place:
    """One site on one kind of bus."""

    connect: Callable[[BusConfig], Bus]  # as a process that has just started
    inject: Callable[[StreamName, dict[bytes, bytes]], None]
    forget: Callable[[], None]  # the server comes back empty


@pytest.fixture(scope="module", params=["memory", *SERVERS, "cluster"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """Where the server answers; None for the bus in memory."""
    if request.param == "memory":
        yield None
        return
    if request.param == "cluster":
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        yield cluster.url
        return
    program = SERVERS[request.param]
    if request.param == "redis" and program is None:
        pytest.skip("no redis-server on the PATH")
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), program=Path(program) if program else None) as started:
        yield started.url


_sites = itertools.count()


@pytest.fixture
def place(url: str | None) -> Place:
    if url is None:
        memory = MemoryBus()

        def connect(config: BusConfig) -> Bus:
            return memory.restarted(config)

        return Place(connect, memory.inject, lambda: memory.come_back(is_empty=True))
    site = f"site{next(_sites)}"
    client = RedisConnection(url, site_key(site, ""), 2.0, 10.0).client
    return Place(
        lambda config: RedisBus(url, site, config),
        lambda stream, fields: client.xadd(site_key(site, stream.value), fields),
        client.flushall,
    )


@pytest.fixture
def bus(place: Place) -> Bus:
    return place.connect(BusConfig())


def take(bus: Bus, group: str = "embedder", consumer: str = "one", count: int = 100) -> list[Delivery]:
    return bus.consume(CROPS, group, consumer, count, 0.0)


def take_all(bus: Bus, group: str = "embedder", consumer: str = "one") -> list[Delivery]:
    deliveries: list[Delivery] = []
    while some := take(bus, group, consumer):
        deliveries += some
    return deliveries


def numbers(deliveries: list[Delivery]) -> list[int]:
    return [number(delivery.message) for delivery in deliveries]


def number(message: Message) -> int:
    assert isinstance(message, TrackletCrops)
    return message.track_id


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


def test_the_backlog_tells_waiting_from_pending(bus: Bus) -> None:
    assert (bus.backlog(CROPS, "embedder").waiting, bus.backlog(CROPS, "embedder").pending) == (0, 0)
    bus.publish(CROPS, [seen(each) for each in range(5)])
    assert bus.backlog(CROPS, "embedder").waiting == 5
    bus.acknowledge(take(bus, count=3)[:1], "embedder")
    backlog = bus.backlog(CROPS, "embedder")
    assert (backlog.waiting, backlog.pending) == (2, 2)


def test_nothing_is_trimmed_while_an_expected_group_has_not_appeared(bus: Bus) -> None:
    bus.publish(CROPS, [seen(1)])
    bus.acknowledge(take(bus), "embedder")
    assert bus.trim() == 0
    assert numbers(take(bus, group="archiver")) == [1]


def test_only_what_every_group_has_acknowledged_is_trimmed(bus: Bus) -> None:
    bus.publish(CROPS, [seen(each) for each in range(6)])
    embedder, archiver = take(bus), take(bus, group="archiver", count=4)
    bus.acknowledge(embedder, "embedder")
    bus.acknowledge([archiver[0], archiver[2]], "archiver")
    assert bus.trim() == 1
    bus.acknowledge([archiver[1], archiver[3]], "archiver")
    assert bus.trim() == 3
    assert numbers(take(bus, group="archiver")) == [4, 5]


def test_a_group_that_nobody_declared_keeps_its_messages_too(bus: Bus) -> None:
    bus.publish(CROPS, [seen(1)])
    for group in GROUPS[CROPS]:
        bus.acknowledge(take(bus, group=group), group)
    held = take(bus, group="a user's own")
    assert bus.trim() == 0
    bus.acknowledge(held, "a user's own")
    assert bus.trim() == 1


def test_a_stream_without_groups_is_bounded_by_its_length(place: Place) -> None:
    bus = place.connect(BusConfig(max_unread_events=100))
    bus.publish(StreamName.IDENTITIES, [event(each + 1) for each in range(1000)])
    assert bus.trim() > 0
    assert 100 <= bus.backlog(StreamName.IDENTITIES, "anybody").waiting < 400


def test_a_stream_without_groups_makes_room_by_itself(place: Place) -> None:
    bus = place.connect(BusConfig(max_stream_bytes=300_000))
    for number in range(1, 101):
        bus.publish(StreamName.IDENTITIES, [event(number, 10_000)])
    assert 10 <= bus.backlog(StreamName.IDENTITIES, "anybody").waiting <= 40


def test_a_full_stream_refuses_and_appends_nothing(place: Place) -> None:
    bus = place.connect(BusConfig(max_stream_bytes=300_000))
    published = 0
    with pytest.raises(BusFull, match="at most 300000"):
        while True:
            bus.publish(CROPS, [seen(published, bytes(10_000)), seen(published + 1, bytes(10_000))])
            published += 2
    assert bus.backlog(CROPS, "embedder").waiting == published
    assert 15 <= published <= 40


def test_a_full_stream_takes_messages_again_once_its_groups_have_read(place: Place) -> None:
    bus = place.connect(BusConfig(max_stream_bytes=300_000))
    with pytest.raises(BusFull):
        while True:
            bus.publish(CROPS, [seen(1, bytes(10_000))])
    for group in GROUPS[CROPS]:
        bus.acknowledge(take(bus, group=group), group)
    bus.publish(CROPS, [seen(2)])
    assert numbers(take(bus)) == [2]


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
