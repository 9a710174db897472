"""The way out: in order, never losing, never in the way."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from pipeline.adapters.bus_rules import BusConfig
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.outbox import Outbox
from pipeline.adapters.spool import Spool
from pipeline.contracts import MAX_MESSAGE_BYTES, IdentityEvent, StreamName, TrackletCrops
from pipeline.errors import Unavailable
from tests.fakes import HandClock, crop, event, tracklet

EVENTS = StreamName.IDENTITIES


def arrived(bus: MemoryBus) -> list[int]:
    deliveries = bus.consume(EVENTS, "reader", "one", 10_000, 0.0)
    bus.acknowledge(deliveries, "reader")
    return [each.message.event_id for each in deliveries if isinstance(each.message, IdentityEvent)]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(Spool(tmp_path, 5_000)) as opened:
        yield opened


@pytest.fixture
def outbox(bus: MemoryBus, clock: HandClock, spool: Spool) -> Outbox:
    return Outbox(bus, spool, EVENTS, clock.monotonic)


def test_while_the_bus_answers_messages_go_straight_to_it(bus: MemoryBus, outbox: Outbox, tmp_path: Path) -> None:
    outbox.send([event(1), event(2)])
    assert arrived(bus) == [1, 2]
    assert list(tmp_path.glob("*.spool")) == []


def test_messages_sent_while_the_bus_was_away_arrive_first_and_in_order(
    bus: MemoryBus, outbox: Outbox, clock: HandClock
) -> None:
    bus.go_away()
    outbox.send([event(1)])
    outbox.send([event(2), event(3)])
    bus.come_back()
    outbox.send([event(4)])
    assert arrived(bus) == []
    clock.sleep(100.0)
    assert outbox.pump() == 4
    assert arrived(bus) == [1, 2, 3, 4]
    outbox.send([event(5)])
    assert arrived(bus) == [5]


def test_a_bus_that_is_away_is_not_asked_again_before_the_pause_is_over(
    outbox: Outbox, clock: HandClock, bus: MemoryBus
) -> None:
    bus.go_away()
    outbox.send([event(1)])
    bus.come_back()
    assert outbox.pump() == 0
    clock.sleep(1.0)
    assert outbox.pump() == 1


def test_a_full_disk_budget_blocks_and_still_loses_nothing(bus: MemoryBus, outbox: Outbox, clock: HandClock) -> None:
    bus.go_away()
    sent = 0
    while not outbox.is_blocked:
        sent += 1
        outbox.send([event(sent)])
    outbox.send([event(sent + 1)])
    bus.come_back()
    clock.sleep(100.0)
    outbox.pump()
    assert not outbox.is_blocked
    assert arrived(bus) == list(range(1, sent + 2))


def test_a_full_bus_makes_messages_wait_until_its_readers_have_read(spool: Spool) -> None:
    bus, clock = MemoryBus(BusConfig(max_stream_bytes=2_000)), HandClock()
    outbox = Outbox(bus, spool, StreamName.CROPS, clock.monotonic)
    for number in range(30):
        outbox.send([tracklet(number, crop(bytes(500)))])
    arrived: dict[str, list[int]] = {"embedder": [], "archiver": []}
    while len(arrived["archiver"]) < 30:
        for group, numbers in arrived.items():
            deliveries = bus.consume(StreamName.CROPS, group, "one", 100, 0.0)
            numbers += [each.message.track_id for each in deliveries if isinstance(each.message, TrackletCrops)]
            bus.acknowledge(deliveries, group)
        clock.sleep(100.0)
        outbox.pump()
    assert arrived == {"embedder": list(range(30)), "archiver": list(range(30))}


def test_when_the_disk_refuses_too_messages_are_held_and_arrive_later(
    bus: MemoryBus, outbox: Outbox, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: Spool, _payloads: object) -> None:
        raise Unavailable("the disk is full")

    bus.go_away()
    outbox.send([event(1)])
    with monkeypatch.context() as broken:
        broken.setattr(Spool, "append", refuse)
        outbox.send([event(2)])
        assert outbox.is_blocked
    bus.come_back()
    clock.sleep(100.0)
    assert outbox.pump() == 2
    assert arrived(bus) == [1, 2]
    assert not outbox.is_blocked


@pytest.mark.parametrize("step", ["read_bytes", "unlink"])
def test_a_disk_that_fails_while_the_spool_is_sent_makes_it_wait_and_nothing_is_lost(
    bus: MemoryBus, outbox: Outbox, clock: HandClock, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refuse(_path: Path, **_options: bool) -> None:
        raise OSError(errno.EIO, "Input/output error")

    bus.go_away()
    outbox.send([event(1), event(2)])
    bus.come_back()
    clock.sleep(100.0)
    with monkeypatch.context() as broken:
        broken.setattr(Path, step, refuse)
        outbox.pump()
        outbox.send([event(3)])
        clock.sleep(100.0)
        outbox.pump()
    clock.sleep(100.0)
    outbox.pump()
    assert arrived(bus) == [1, 2, 3]


def test_a_message_that_no_reader_accepts_does_not_hold_up_the_others(bus: MemoryBus, outbox: Outbox) -> None:
    outbox.send([event(1), event(2, size_bytes=MAX_MESSAGE_BYTES + 1), event(3)])
    assert arrived(bus) == [1, 3]


def test_what_waited_at_the_end_of_one_process_is_sent_by_the_next(
    bus: MemoryBus, outbox: Outbox, clock: HandClock, tmp_path: Path
) -> None:
    bus.go_away()
    outbox.send([event(1)])
    outbox.close()
    bus.come_back()
    with closing(Spool(tmp_path, 5_000)) as left:
        Outbox(bus, left, EVENTS, clock.monotonic).pump()
    assert arrived(bus) == [1]


def test_a_spooled_message_that_cannot_be_read_is_kept_and_its_neighbours_are_sent(
    bus: MemoryBus, outbox: Outbox, spool: Spool, clock: HandClock, tmp_path: Path
) -> None:
    bus.go_away()
    outbox.send([event(1)])
    spool.append([b"\xc1 nonsense", b"\x01"])
    outbox.send([event(2)])
    bus.come_back()
    clock.sleep(100.0)
    outbox.pump()
    assert arrived(bus) == [1, 2]
    assert len(list(tmp_path.glob("*.damaged"))) == 1


class OutboxMachine(RuleBasedStateMachine):
    """The bus comes and goes and the worker crashes: everything arrives; repeats come only after a crash."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = HandClock()
        self.bus = MemoryBus()
        self.sent = 0
        self.crashes = 0
        self.seen: list[int] = []
        self.is_away = False
        self.open()

    def open(self) -> None:
        self.spool = Spool(self.folder, 10**6, segment_bytes=400)
        self.outbox = Outbox(self.bus, self.spool, EVENTS, self.clock.monotonic)

    @rule(count=st.integers(1, 5))
    def send(self, count: int) -> None:
        self.outbox.send([event(self.sent + 1 + each) for each in range(count)])
        self.sent += count

    @rule(passed_s=st.sampled_from([0.1, 50.0]))
    def pump(self, passed_s: float) -> None:
        self.clock.sleep(passed_s)
        self.outbox.pump()

    @rule()
    def bus_goes_or_comes(self) -> None:
        self.is_away = not self.is_away
        if self.is_away:
            self.bus.go_away()
        else:
            self.bus.come_back()

    @rule()
    def crash(self) -> None:
        self.crashes += 1
        self.spool.close()  # frees the lock; nothing is written by it
        self.open()

    @precondition(lambda self: not self.is_away)
    @rule()
    def read(self) -> None:
        self.seen += arrived(self.bus)

    def teardown(self) -> None:
        self.bus.come_back()
        self.clock.sleep(100.0)
        self.outbox.pump()
        self.seen += arrived(self.bus)
        assert sorted(set(self.seen)) == list(range(1, self.sent + 1))
        if not self.crashes:
            assert self.seen == sorted(set(self.seen))
        self.spool.close()
        shutil.rmtree(self.folder)


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
