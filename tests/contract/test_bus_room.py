"""Every bus keeps what a group has not acknowledged, and refuses what it has no room for."""

from __future__ import annotations

import pytest

from pipeline.adapters.bus_rules import GROUPS, BusConfig
from pipeline.contracts import (
    StreamName,
)
from pipeline.errors import BusFull
from pipeline.interfaces import Bus
from tests.contract.buses import CROPS, Place, numbers, seen, take
from tests.fakes import event


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
