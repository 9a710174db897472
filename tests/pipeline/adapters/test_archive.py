from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.archive import GROUP, Archiver, ArchiverConfig
from pipeline.adapters.blobs import FsBlobs, MemoryBlobs
from pipeline.adapters.bus_rules import BusConfig
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.store import SqlStore
from pipeline.contracts import BlobKey, Crop, StreamName, TrackletCrops, TrackletId
from pipeline.errors import Unavailable
from pipeline.interfaces import Blobs
from tests.fakes import HandClock, crop, jpeg, painted, tracklet

CROPS = StreamName.CROPS
CONFIG = ArchiverConfig(block_s=0.0)


class Killed(BaseException):
    """As good as SIGKILL: nothing catches it."""


class Troubled:
    """Passes every call on, but the `fails_at`-th (from 1) raises instead."""

    def __init__(self, inner: Any, error: BaseException, fails_at: int) -> None:
        self._inner, self._error, self._left = inner, error, fails_at

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                raise self._error
            return getattr(self._inner, name)(*arguments)

        return call


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(BusConfig(), monotonic=HandClock().monotonic)


@pytest.fixture
def store() -> SqlStore:
    return SqlStore.in_memory()


@pytest.fixture
def blobs(tmp_path: Path) -> FsBlobs:
    return FsBlobs(str(tmp_path))


def seen(track_id: int, crops: int = 2) -> TrackletCrops:
    return tracklet(track_id, *(crop(jpeg(painted((track_id, 10 * number, 99)))) for number in range(crops)))


def archived(store: SqlStore, *tracklets: TrackletCrops) -> dict[TrackletId, list[BlobKey]]:
    known = store.tracklets([each.tracklet_id for each in tracklets])
    return {name: [kept.blob_key for kept in stored.crops] for name, stored in known.items()}


def keys(*tracklets: TrackletCrops) -> dict[TrackletId, list[BlobKey]]:
    return {each.tracklet_id: [one.key for one in each.crops] for each in tracklets}


def pending(bus: MemoryBus) -> int:
    backlog = bus.backlog(CROPS, GROUP)
    return backlog.waiting + backlog.pending


def test_crops_become_blobs_and_rows_and_are_acknowledged(bus: MemoryBus, store: SqlStore, blobs: FsBlobs) -> None:
    sent = [seen(1), seen(2, crops=3)]
    bus.publish(CROPS, sent)
    assert Archiver(bus, store, blobs, CONFIG).run_once() == 2
    assert archived(store, *sent) == keys(*sent)
    assert [blobs.get(one.key) for one in sent[1].crops] == [one.jpeg for one in sent[1].crops]
    assert pending(bus) == 0
    assert Archiver(bus, store, blobs, CONFIG).run_once() == 0


def test_a_tracklet_delivered_twice_changes_nothing(bus: MemoryBus, store: SqlStore, blobs: FsBlobs) -> None:
    bus.publish(CROPS, [seen(1), seen(1)])
    assert Archiver(bus, store, blobs, CONFIG).run_once() == 2
    assert archived(store, seen(1)) == keys(seen(1))
    assert pending(bus) == 0


@pytest.mark.parametrize("step", range(1, 5))
@pytest.mark.parametrize("part", ["bus", "store", "blobs"])
def test_death_at_any_call_loses_nothing_and_leaves_no_row_without_its_blob(
    part: str, step: int, bus: MemoryBus, store: SqlStore, blobs: FsBlobs
) -> None:
    sent = [seen(1), seen(2)]
    bus.publish(CROPS, sent)
    parts: dict[str, Any] = {"bus": bus, "store": store, "blobs": blobs}
    parts[part] = Troubled(parts[part], Killed(), step)
    with contextlib.suppress(Killed):
        Archiver(parts["bus"], parts["store"], parts["blobs"], CONFIG).run_once()
    for rows in archived(store, *sent).values():
        assert all(blobs.get(key) is not None for key in rows)
    successor = Archiver(bus.restarted(), store, blobs, CONFIG)
    while successor.run_once():
        pass
    assert archived(store, *sent) == keys(*sent)


@pytest.mark.parametrize("part", ["store", "blobs"])
def test_trouble_outside_keeps_the_rest_in_hand_and_nothing_is_set_aside(
    part: str, bus: MemoryBus, store: SqlStore, blobs: FsBlobs
) -> None:
    sent = [seen(1), seen(2), seen(3)]
    bus.publish(CROPS, sent)
    parts: dict[str, Any] = {"store": store, "blobs": blobs}
    parts[part] = Troubled(parts[part], Unavailable("the disk is full"), 2)
    archiver = Archiver(bus, parts["store"], parts["blobs"], CONFIG)
    with pytest.raises(Unavailable, match="the disk is full"):
        archiver.run_once()
    assert archiver.run_once() > 0
    assert archived(store, *sent) == keys(*sent)
    assert (pending(bus), bus.dead_letters(10)) == (0, [])


def test_a_torn_crop_is_left_out_and_the_others_are_kept(bus: MemoryBus, store: SqlStore, blobs: FsBlobs) -> None:
    whole = crop(jpeg(painted((1, 2, 3))))
    torn = crop(whole.jpeg[:-20])
    bus.publish(CROPS, [tracklet(1, torn, whole)])
    Archiver(bus, store, blobs, CONFIG).run_once()
    assert archived(store, tracklet(1, whole)) == keys(tracklet(1, whole))
    assert blobs.get(torn.key) is None


def test_a_tracklet_without_any_picture_is_set_aside_and_the_next_is_archived(
    bus: MemoryBus, store: SqlStore, blobs: FsBlobs
) -> None:
    bus.publish(CROPS, [tracklet(1, crop(b"no picture")), seen(2)])
    assert Archiver(bus, store, blobs, CONFIG).run_once() == 2
    (letter,) = bus.dead_letters(10)
    assert letter.group == GROUP
    assert "no crop of gate/b1/1/0 is a whole JPEG" in letter.reason
    assert archived(store, tracklet(1, crop(b"no picture")), seen(2)) == keys(seen(2))
    assert pending(bus) == 0


def test_a_number_that_no_database_holds_is_set_aside(bus: MemoryBus, store: SqlStore, blobs: FsBlobs) -> None:
    bus.publish(CROPS, [seen(1).model_copy(update={"detections": 2**63}), seen(2)])
    assert Archiver(bus, store, blobs, CONFIG).run_once() == 2
    (letter,) = bus.dead_letters(10)
    assert "does not fit into the database" in letter.reason
    assert archived(store, seen(2)) == keys(seen(2))


class _Stumbling(MemoryBlobs):
    def put(self, content: bytes) -> BlobKey:
        if content == POISON.jpeg:
            raise RuntimeError("a bug")
        return super().put(content)


POISON: Crop = crop(jpeg(painted((0, 0, 0))))


def test_a_tracklet_that_trips_over_a_bug_is_set_aside_after_three_attempts(bus: MemoryBus, store: SqlStore) -> None:
    blobs: Blobs = _Stumbling()
    bus.publish(CROPS, [seen(1), tracklet(7, POISON), seen(2)])
    archiver = Archiver(bus, store, blobs, CONFIG)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="a bug"):
            archiver.run_once()
    archiver.run_once()
    (letter,) = bus.dead_letters(10)
    assert "the archiver failed on it: RuntimeError: a bug" in letter.reason
    assert archived(store, seen(1), seen(2)) == keys(seen(1), seen(2))
    assert pending(bus) == 0
