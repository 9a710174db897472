"""The bus against a real server that dies, forgets, fills up and hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from pipeline.adapters.bus_rules import BusConfig
from pipeline.adapters.redis_bus import RedisBus, site_key
from pipeline.adapters.redis_server import EmbeddedRedis
from pipeline.contracts import IdentityEvent, StreamName
from pipeline.errors import BusFull, ConfigurationError, Unavailable
from pipeline.interfaces import Delivery
from tests.fakes import crop, event, tracklet

EVENTS = StreamName.IDENTITIES
SECRET = "s3cret-pa55"


def numbers(deliveries: list[Delivery]) -> list[int]:
    return [each.message.event_id for each in deliveries if isinstance(each.message, IdentityEvent)]


def take_all(bus: RedisBus, group: str = "reader") -> list[Delivery]:
    deliveries: list[Delivery] = []
    while some := bus.consume(EVENTS, group, "one", 50, 0.0):
        deliveries += some
    return deliveries


def kill(server: EmbeddedRedis) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    server.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as started:
        yield started


def raw(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url)


# --- the server dies ------------------------------


def test_everything_published_before_the_server_was_killed_arrives_afterwards(server: EmbeddedRedis) -> None:
    bus = RedisBus(server.url, "here")
    published = 0
    for round_ in range(5):
        killer = threading.Timer(0.02 * (round_ + 1), os.kill, (server.pid, signal.SIGKILL))
        killer.start()
        while True:
            try:
                bus.publish(EVENTS, [event(published + 1)])
            except Unavailable:
                break
            published += 1
        killer.join()
        server.stop()
        server.start()
    assert set(range(1, published + 1)) <= set(numbers(take_all(bus)))
    assert published > 5


def test_what_was_acknowledged_before_the_server_was_killed_does_not_come_again(server: EmbeddedRedis) -> None:
    bus = RedisBus(server.url, "here")
    bus.publish(EVENTS, [event(each) for each in range(1, 11)])
    bus.acknowledge(bus.consume(EVENTS, "reader", "one", 4, 0.0), "reader")
    bus.consume(EVENTS, "reader", "one", 2, 0.0)
    kill(server)
    server.start()
    again = take_all(RedisBus(server.url, "here"))
    assert numbers(again) == [5, 6, 7, 8, 9, 10]
    assert [each.delivered for each in again] == [2, 2, 1, 1, 1, 1]


def test_while_the_server_is_away_every_call_says_so_and_afterwards_every_call_works(server: EmbeddedRedis) -> None:
    bus = RedisBus(server.url, "here")
    bus.publish(EVENTS, [event(1)])
    (delivery,) = take_all(bus)
    kill(server)
    calls = {
        "publish": lambda: bus.publish(EVENTS, [event(2)]),
        "consume": lambda: bus.consume(EVENTS, "reader", "one", 1, 0.0),
        "acknowledge": lambda: bus.acknowledge([delivery], "reader"),
        "set aside": lambda: bus.set_aside(delivery, "reader", "test"),
        "backlog": lambda: bus.backlog(EVENTS, "reader"),
        "trim": lambda: bus.trim(),
        "dead letters": lambda: bus.dead_letters(1),
        "replay": lambda: bus.replay(["1-1"]),
        "ping": lambda: bus.ping(),
    }
    for name, call in calls.items():
        with pytest.raises(Unavailable, match="does not answer"):
            call()
            pytest.fail(f"{name} did not notice")
    server.start()
    for call in calls.values():
        call()


def test_an_answer_that_was_lost_on_the_way_is_asked_for_again(server: EmbeddedRedis) -> None:
    bus = RedisBus(server.url, "here")
    assert take_all(bus) == []
    bus.publish(EVENTS, [event(1)])
    # The server has handed the entry to us, but the connection broke before we saw it.
    raw(server).xreadgroup("reader", "one", {site_key("here", "identities"): ">"})
    kill(server)
    with pytest.raises(Unavailable):
        bus.consume(EVENTS, "reader", "one", 1, 0.0)
    server.start()
    assert numbers(take_all(bus)) == [1]


def test_slow_work_is_not_taken_for_abandoned_by_the_process_that_does_it(server: EmbeddedRedis) -> None:
    bus = RedisBus(server.url, "here", BusConfig(claim_idle_s=0.0))
    bus.publish(EVENTS, [event(1), event(2)])
    in_hand = take_all(bus)
    for _ in range(5):  # more often than `max_deliveries`
        assert take_all(bus) == []
    bus.acknowledge(in_hand, "reader")
    assert bus.backlog(EVENTS, "reader").pending == 0
    assert bus.dead_letters(10) == []


def test_an_outage_does_not_hand_out_again_what_this_process_still_works_on(server: EmbeddedRedis) -> None:
    bus = RedisBus(server.url, "here")
    bus.publish(EVENTS, [event(1), event(2)])
    in_hand = take_all(bus)
    for _ in range(5):  # more often than `max_deliveries`
        kill(server)
        with pytest.raises(Unavailable):
            bus.consume(EVENTS, "reader", "one", 1, 0.0)
        server.start()
        assert take_all(bus) == []
    bus.acknowledge(in_hand, "reader")
    assert bus.backlog(EVENTS, "reader").pending == 0
    assert bus.dead_letters(10) == []


def test_a_frozen_server_is_noticed(server: EmbeddedRedis) -> None:
    bus = RedisBus(server.url, "here", BusConfig(answer_timeout_s=0.3))
    bus.ping()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable):
            bus.publish(EVENTS, [event(1)])
    finally:
        os.kill(server.pid, signal.SIGCONT)
    bus.publish(EVENTS, [event(2)])
    assert 2 in numbers(take_all(bus))


def test_waiting_longer_than_the_socket_allows_is_no_loss(server: EmbeddedRedis) -> None:
    bus = RedisBus(server.url, "here", BusConfig(answer_timeout_s=0.3))
    assert bus.consume(EVENTS, "reader", "one", 1, 60.0) == []


CONSUMER = """
import os, signal, sys
from pipeline.adapters.redis_bus import RedisBus
from pipeline.contracts import StreamName
bus = RedisBus(sys.argv[1], "here")
seen = 0
while batch := bus.consume(StreamName.IDENTITIES, "reader", "one", 4, 0.0):
    for delivery in batch:
        seen += 1
        if seen == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        sys.stdout.write(f"{delivery.message.event_id}\\n")
        sys.stdout.flush()
        bus.acknowledge([delivery], "reader")
"""


def test_consumers_that_are_killed_in_the_middle_leave_nothing_undone(server: EmbeddedRedis) -> None:
    bus = RedisBus(server.url, "here")
    bus.publish(EVENTS, [event(each) for each in range(1, 21)])
    done: list[int] = []
    codes: list[int] = []
    while not codes or codes[-1] != 0:
        result = subprocess.run([sys.executable, "-c", CONSUMER, server.url], capture_output=True, check=False)
        done += [int(line) for line in result.stdout.split()]
        codes.append(result.returncode)
    assert sorted(done) == list(range(1, 21))
    assert len(codes) == 4
    assert bus.dead_letters(10) == []


# --- the server forgets ------------------------------


def test_a_group_that_vanished_while_its_consumer_waited_is_made_again(server: EmbeddedRedis) -> None:
    bus = RedisBus(server.url, "here")
    take_all(bus)

    def forget_and_refill() -> None:
        raw(server).flushall()
        RedisBus(server.url, "here").publish(EVENTS, [event(1)])

    later = threading.Timer(0.1, forget_and_refill)
    later.start()
    found: list[int] = []
    for _ in range(20):
        found += numbers(bus.consume(EVENTS, "reader", "one", 10, 0.5))
        if found:
            break
    later.join()
    assert found == [1]


def test_a_destroyed_group_reads_again_from_the_beginning(server: EmbeddedRedis) -> None:
    bus = RedisBus(server.url, "here")
    bus.publish(EVENTS, [event(1)])
    bus.acknowledge(take_all(bus), "reader")
    raw(server).xgroup_destroy(site_key("here", "identities"), "reader")
    assert numbers(take_all(bus)) == [1]


def test_a_pending_entry_that_somebody_deleted_stops_nobody(server: EmbeddedRedis) -> None:
    bus = RedisBus(server.url, "here")
    bus.publish(EVENTS, [event(1), event(2)])
    deliveries = take_all(bus)
    raw(server).xdel(site_key("here", "identities"), deliveries[0].entry_id)
    restarted = RedisBus(server.url, "here")
    again = take_all(restarted)
    assert numbers(again) == [2]
    restarted.acknowledge(again, "reader")
    assert restarted.backlog(EVENTS, "reader").pending == 0


def test_the_backlog_is_bounded_where_the_server_cannot_tell_it(server: EmbeddedRedis) -> None:
    bus = RedisBus(server.url, "here")
    bus.publish(EVENTS, [event(each) for each in range(1, 7)])
    bus.consume(EVENTS, "reader", "one", 2, 0.0)
    key = site_key("here", "identities")
    middle = raw(server).xrange(key)[3][0]
    raw(server).xdel(key, middle)
    (group,) = raw(server).xinfo_groups(key)
    assert group["lag"] is None
    backlog = bus.backlog(EVENTS, "reader")
    assert (backlog.waiting, backlog.pending) == (3, 2)


def test_the_bus_of_another_site_is_another_bus(server: EmbeddedRedis) -> None:
    here, there = RedisBus(server.url, "here"), RedisBus(server.url, "there")
    here.publish(EVENTS, [event(1)])
    assert take_all(there) == []
    assert numbers(take_all(here)) == [1]


# --- the server is full ------------------------------


def fill(client: redis.Redis) -> None:
    client.config_set("maxmemory", "1")


def test_a_server_without_memory_means_full_and_nothing_is_appended(server: EmbeddedRedis) -> None:
    bus = RedisBus(server.url, "here")
    take_all(bus)
    bus.publish(EVENTS, [event(1)])
    fill(raw(server))
    with pytest.raises(BusFull, match="memory limit"):
        bus.publish(EVENTS, [event(2), event(3)])
    assert numbers(take_all(bus)) == [1]


def test_a_bad_entry_on_a_server_without_memory_stops_nobody_and_is_set_aside_later(server: EmbeddedRedis) -> None:
    bus = RedisBus(server.url, "here", BusConfig(claim_idle_s=0.0))
    take_all(bus)
    raw(server).xadd(site_key("here", "identities"), {"bad": "entry"})
    bus.publish(EVENTS, [event(1)])
    fill(raw(server))
    deliveries = bus.consume(EVENTS, "reader", "one", 10, 0.0)
    assert numbers(deliveries) == [1]
    bus.acknowledge(deliveries, "reader")
    raw(server).config_set("maxmemory", "0")
    assert bus.consume(EVENTS, "reader", "one", 10, 0.0) == []
    assert len(bus.dead_letters(10)) == 1


def test_many_publishers_stay_near_the_byte_budget(server: EmbeddedRedis) -> None:
    buses = [RedisBus(server.url, "here", BusConfig(max_stream_bytes=1_000_000)) for _ in range(4)]
    full = 0
    while full < len(buses):
        full = 0
        for bus in buses:
            try:
                bus.publish(StreamName.CROPS, [tracklet(1, crop(bytes(10_000)))])
            except BusFull:
                full += 1
    used = raw(server).memory_usage(site_key("here", "crops"), samples=0)
    assert used is not None
    assert 900_000 < used < 1_200_000


# --- trouble with the address ------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"redis://user:{SECRET}@localhost:port/0",
        f"redis://user:{SECRET}/with/slashes@localhost/0",
        f"http://user:{SECRET}@localhost",
        f"redis://:{SECRET}@",
        SECRET,
    ],
)
def test_an_address_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisBus(url, "here")
    assert SECRET not in "".join(map(str, (caught.value, caught.value.__cause__, caught.value.args)))
    assert "redis://" in str(caught.value)


@pytest.mark.parametrize(
    "url", [f"redis://user:{SECRET}@127.0.0.1:1/0", f"unix:///nowhere/redis.sock?password={SECRET}"]
)
def test_a_password_never_shows(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    bus = RedisBus(url, "here")
    with pytest.raises(Unavailable) as caught:
        bus.ping()
    assert SECRET not in f"{caught.value} {bus!r} {caught.value.__cause__} {caplog.text}"


def test_a_wrong_password_is_a_matter_of_configuration(server: EmbeddedRedis) -> None:
    raw(server).config_set("requirepass", "right")
    with pytest.raises(ConfigurationError, match="refuses the user or the password") as caught:
        RedisBus(f"{server.url}?password={SECRET}", "here").ping()
    assert SECRET not in str(caught.value)
    RedisBus(f"{server.url}?password=right", "here").ping()


def test_foreign_data_under_our_key_is_named(server: EmbeddedRedis) -> None:
    raw(server).set(site_key("here", "identities"), "no stream")
    with closing(RedisBus(server.url, "here")) as bus, pytest.raises(ConfigurationError, match="WRONGTYPE"):
        bus.publish(EVENTS, [event(1)])


def test_a_site_name_that_would_break_the_keys_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="site"):
        RedisBus("redis://localhost", "a}b")


def test_the_number_of_a_dead_letter_must_be_one(server: EmbeddedRedis) -> None:
    with pytest.raises(ConfigurationError, match="sightline dead list"):
        RedisBus(server.url, "here").replay(["everything"])
