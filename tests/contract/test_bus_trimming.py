"""Whatever happens in whatever order, no group loses a message that it has not acknowledged."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from pipeline.adapters.bus_rules import GROUPS, BusConfig, GroupProgress, first_kept
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.redis_bus import RedisBus
from pipeline.adapters.redis_server import EmbeddedRedis
from pipeline.contracts import StreamName, TrackletCrops
from pipeline.interfaces import Bus, Delivery
from tests.fakes import crop, tracklet
from tests.redis_cluster import RedisCluster

CROPS = StreamName.CROPS
groups = st.sampled_from((*GROUPS[CROPS], "a user's own"))
consumers = st.sampled_from(("one", "two"))
PATIENT = BusConfig(max_deliveries=1_000_000)


def number(delivery: Delivery) -> int:
    assert isinstance(delivery.message, TrackletCrops)
    return delivery.message.track_id


class TrimmingMachine(RuleBasedStateMachine):
    """Publishes, reads, acknowledges in any order, restarts and trims; at the end everything has arrived everywhere."""

    def connect(self) -> Bus:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.bus = self.connect()
        self.published = 0
        self.in_hand: dict[str, list[Delivery]] = {}
        self.done: dict[str, set[int]] = {group: set() for group in GROUPS[CROPS]}

    @rule(count=st.integers(1, 4))
    def publish(self, count: int) -> None:
        self.bus.publish(CROPS, [tracklet(self.published + each, crop(b"jpeg")) for each in range(count)])
        self.published += count

    @rule(group=groups, consumer=consumers, count=st.integers(1, 3))
    def consume(self, group: str, consumer: str, count: int) -> None:
        # A group that nobody declared begins where the stream begins now.
        self.done.setdefault(group, set())
        self.in_hand.setdefault(group, []).extend(self.bus.consume(CROPS, group, consumer, count, 0.0))

    @rule(group=groups, data=st.data())
    def acknowledge(self, group: str, data: st.DataObject) -> None:
        if held := self.in_hand.get(group):
            delivery = held.pop(data.draw(st.integers(0, len(held) - 1)))
            self.bus.acknowledge([delivery], group)
            self.done[group].add(number(delivery))

    @rule()
    def trim(self) -> None:
        self.bus.trim()

    @rule()
    def restart(self) -> None:
        self.bus = self.connect()
        self.in_hand = {}

    def teardown(self) -> None:
        self.bus.trim()
        self.bus = self.connect()
        for group in GROUPS[CROPS]:
            for consumer in ("one", "two"):
                while deliveries := self.bus.consume(CROPS, group, consumer, 10, 0.0):
                    self.bus.acknowledge(deliveries, group)
                    self.done[group].update(map(number, deliveries))
            assert self.done[group] == set(range(self.published))


class MemoryMachine(TrimmingMachine):
    def __init__(self) -> None:
        self.memory = MemoryBus(PATIENT)
        super().__init__()

    def connect(self) -> Bus:
        return self.memory.restarted()


TestTrimmingInMemory = MemoryMachine.TestCase
TestTrimmingInMemory.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@pytest.fixture(params=["alone", "cluster"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "cluster":
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        yield cluster.url
        return
    with EmbeddedRedis(tmp_path / "redis") as started:
        yield started.url


def test_trimming_on_a_real_server(url: str) -> None:
    sites = itertools.count()

    class RedisMachine(TrimmingMachine):
        def __init__(self) -> None:
            self.site = f"site{next(sites)}"
            super().__init__()

        def connect(self) -> Bus:
            return RedisBus(url, self.site, PATIENT)

    quick = settings(max_examples=25, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(RedisMachine, settings=quick)


def test_without_its_expected_groups_a_stream_keeps_everything() -> None:
    read = GroupProgress((9, 9), None)
    assert first_kept(("embedder", "archiver"), {"embedder": read}) == (0, 0)
    assert first_kept((), {}) == (0, 0)


def test_what_a_group_has_read_and_acknowledged_may_go_up_to_its_last_entry() -> None:
    assert first_kept(("matcher",), {"matcher": GroupProgress((7, 2), None)}) == (7, 3)


def test_the_slowest_group_decides() -> None:
    progress = {"embedder": GroupProgress((7, 0), (5, 0)), "archiver": GroupProgress((6, 0), None)}
    assert first_kept(tuple(progress), progress) == (5, 0)
