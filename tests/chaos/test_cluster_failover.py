"""A master of the cluster is killed and its replica promoted: nothing that was sent is lost, and other sites go on."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.adapters.outbox import Outbox
from pipeline.adapters.redis_bus import RedisBus
from pipeline.adapters.spool import Spool
from pipeline.contracts import Message, StreamName, TrackletCrops
from pipeline.errors import Unavailable
from tests.fakes import crop, tracklet
from tests.redis_cluster import RedisCluster, wait_for

CROPS = StreamName.CROPS


class Witness:
    """A bus that remembers which tracklets it has acknowledged."""

    def __init__(self, inner: RedisBus) -> None:
        self._inner = inner
        self.acknowledged: set[int] = set()

    def publish(self, stream: StreamName, messages: Sequence[Message]) -> None:
        self._inner.publish(stream, messages)
        self.acknowledged |= {message.track_id for message in messages if isinstance(message, TrackletCrops)}


def arrived(bus: RedisBus, group: str) -> set[int]:
    found: set[int] = set()
    while deliveries := bus.consume(CROPS, group, "one", 100, 0.0):
        found |= {each.message.track_id for each in deliveries if isinstance(each.message, TrackletCrops)}
    return found


def answers(call: Callable[[], object]) -> bool:
    with contextlib.suppress(Unavailable):
        call()
        return True
    return False


@pytest.fixture
def cluster(redis_cluster: RedisCluster) -> Iterator[RedisCluster]:
    yield redis_cluster
    for node in redis_cluster.nodes:
        if not node.answers():
            node.start()
    redis_cluster.wait_until_whole()


def test_a_master_that_is_killed_loses_nothing_that_a_camera_has_sent(cluster: RedisCluster, tmp_path: Path) -> None:
    home = cluster.master_of("here")
    elsewhere = next(f"there-{n}" for n in itertools.count() if cluster.master_of(f"there-{n}") is not home)
    here, there = RedisBus(cluster.url, "here"), RedisBus(cluster.url, elsewhere)
    with contextlib.closing(here), contextlib.closing(there):
        witness, sent = Witness(here), itertools.count(1)
        # The pauses of an outbox grow to half a minute; ten times as fast, it meets the new master soon.
        spool = Spool(tmp_path / "spool", 10_000_000)
        outbox = Outbox(witness, spool, CROPS, lambda: 10.0 * time.monotonic())

        def send() -> int:
            number = next(sent)
            outbox.send([tracklet(number, crop(b"jpeg"))])
            return number

        def kill() -> None:
            wait_for(lambda: len(witness.acknowledged) > 100, "messages to be acknowledged")
            home.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        while killer.is_alive():
            send()
        before = frozenset(witness.acknowledged)
        for _ in range(20):
            send()
        there.publish(CROPS, [tracklet(1, crop(b"jpeg"))])
        assert arrived(there, "embedder") == {1}

        wait_for(lambda: answers(here.ping), "the replica to be promoted")
        assert cluster.master_of("here") is not home
        assert before <= arrived(here, "archiver")
        last = send()
        wait_for(lambda: outbox.pump() is not None and not spool.size_bytes, "the spool to be sent")
        outbox.close()
        assert arrived(here, "embedder") == set(range(1, last + 1))
