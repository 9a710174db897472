"""What is removed beyond the database, whatever dies meanwhile: blobs, messages, training sets, evidence."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import pytest

from pipeline import metrics
from pipeline.adapters.archive import Archiver, ArchiverConfig
from pipeline.adapters.blobs import MemoryBlobs
from pipeline.adapters.forgetter import Forgetter, ForgetterConfig
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.store import SqlStore
from pipeline.contracts import GlobalId, IdentityEventKind, StreamName, TrackletCrops
from pipeline.decisions import Decision
from pipeline.forgetting import DAY_S, ErasureRequest, Followed, Keeping, Kind, Receipt
from pipeline.search.index import VectorIndex
from tests.fakes import DIGEST, HandClock, crop, embedding, tracklet
from tests.pipeline.matching.one_matcher import Deadly, Killed

JPEG = b"\xff\xd8\xff%b\xff\xd9"
FOR_EVER = Keeping(None, None, None)


def sent(track_id: int, camera_id: str = "gate", sequence: int = 0, at: float = 0.0) -> TrackletCrops:
    picture = JPEG % f"{camera_id} {track_id} {sequence}".encode()
    made = tracklet(track_id, crop(picture), camera_id=camera_id)
    return made.model_copy(update={"sequence": sequence, "started_at": at, "ended_at": at + 4.0})


@dataclass(slots=True)
class NightCopies:
    """`TrainingSets` of a night that is at work or not."""

    are_in_use: bool = False
    cleared: int = 0

    def clear(self) -> bool:
        self.cleared += not self.are_in_use
        return not self.are_in_use


@dataclass(slots=True)
class Site:
    """Person 1 at gate, person 2 in the hall, archived and decided, on a clock of their day."""

    clock: HandClock = field(default_factory=lambda: HandClock(100.0))
    store: SqlStore = field(default_factory=SqlStore.in_memory)
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    copies: NightCopies = field(default_factory=NightCopies)
    keeping: dict[str, Keeping] = field(default_factory=dict)
    bus: MemoryBus = field(init=False)

    def __post_init__(self) -> None:
        self.bus = MemoryBus(now=self.clock.now)
        for number, camera_id in ((1, "gate"), (2, "hall")):
            self.archive(sent(number, camera_id))
            seen = embedding(camera_id, number)
            self.store.commit_decisions([Decision(seen, GlobalId(number), True, 0.9, "new")], self.clock.now())

    def archive(self, *tracklets: TrackletCrops) -> None:
        self.bus.publish(StreamName.CROPS, tracklets)
        archiver = Archiver(self.bus, self.store, self.blobs, ArchiverConfig(block_s=0.0))
        while archiver.run_once():
            pass

    def forgetter(self, store: object = None, blobs: object = None, bus: object = None) -> Forgetter:
        return Forgetter(
            store or self.store,  # type: ignore[arg-type]
            blobs or self.blobs,  # type: ignore[arg-type]
            bus or self.bus,  # type: ignore[arg-type]
            lambda camera_id: self.keeping.get(camera_id, FOR_EVER),
            self.copies,
            self.clock,
        )

    def erase(self, person: int = 1) -> int:
        request = ErasureRequest(GlobalId(person), "anna", "case 7")
        number = self.store.add_erasure(request, self.store.rehearse_erasure(GlobalId(person)), self.clock.now())
        self.store.erase(number, self.clock.now(), self.clock.now() + 90 * DAY_S)
        return number

    def receipt(self, number: int) -> Receipt:
        found = self.store.receipt(number)
        assert found is not None
        return found

    def there(self, made: TrackletCrops) -> bool:
        return all(self.blobs.get(each.key) is not None for each in made.crops)


@pytest.fixture
def site() -> Site:
    return Site()


def test_an_erased_person_is_gone_everywhere_and_the_receipt_says_how_much(site: Site) -> None:
    site.bus.publish(StreamName.EMBEDDINGS, [embedding("gate", 1), embedding("hall", 2)])
    site.bus.publish(StreamName.IDENTITIES, site.store.events_after(0, 9))
    look = embedding("gate", 1)
    number = site.erase()
    site.forgetter().run_once()
    assert not site.there(sent(1)) and site.there(sent(2, "hall"))
    assert not site.receipt(number).finished_at
    site.clock.sleep(ForgetterConfig().settle_s)
    site.forgetter().run_once()
    receipt = site.receipt(number)
    # The blob; the message of each stream but the last one's news, and its crops, which the embedder never read.
    assert receipt.followed == Followed(blobs=1, messages=3)
    assert receipt.finished_at is not None and receipt.left is not None and receipt.left.is_nothing
    assert site.copies.cleared > 0
    found = VectorIndex(site.store, DIGEST, "appearance").refresh()
    assert look.tracklet_id not in found.tracklet_ids and found.global_ids.tolist() == [2]
    assert "gate" not in receipt.model_dump_json()


def test_the_news_stays_on_the_bus_until_everybody_had_time_to_read_it(site: Site) -> None:
    site.erase()
    site.bus.publish(StreamName.IDENTITIES, site.store.identity_changes(0, 9))
    site.forgetter().run_once()
    (told,) = site.bus.consume(StreamName.IDENTITIES, "reader", "r1", 9, 0.0)
    assert told.message.kind is IdentityEventKind.ERASED  # type: ignore[attr-defined]
    site.clock.sleep(ForgetterConfig().settle_s)
    site.forgetter().run_once()
    assert site.bus.consume(StreamName.IDENTITIES, "another", "a1", 9, 0.0) == []


def test_what_the_camera_sends_late_leaves_neither_row_nor_blob(site: Site) -> None:
    site.erase()
    late = sent(1, sequence=1)
    site.archive(late)
    assert site.store.tracklets([late.tracklet_id]) == {}
    site.forgetter().run_once()
    assert not site.there(late)


def test_an_erasure_is_not_over_while_a_night_learns_from_a_copy(site: Site) -> None:
    site.copies.are_in_use = True
    number, forgetter = site.erase(), site.forgetter()
    site.clock.sleep(2 * ForgetterConfig().settle_s)
    forgetter.run_once()
    left = site.receipt(number).left
    assert left is not None and left.training_sets == 1 and site.receipt(number).finished_at is None
    assert metrics.ERASURE_OPEN._value.get() > 0
    site.copies.are_in_use = False
    site.clock.sleep(ForgetterConfig().retry_s)
    forgetter.run_once()
    assert site.receipt(number).finished_at is not None


STEPS = [
    ("store", "note_followed"),
    ("store", "blobs_are_gone"),
    ("store", "doom_blobs"),
    ("store", "scrub_mentions"),
    ("store", "finish_erasure"),
    ("blobs", "delete"),
    ("bus", "discard"),
]


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize(("part", "method"), STEPS)
def test_killed_anywhere_an_erasure_comes_to_its_end(site: Site, part: str, method: str, is_late: bool) -> None:
    site.bus.publish(StreamName.CROPS, [sent(1, sequence=1)])
    site.blobs.put(sent(1, sequence=1).crops[0].jpeg)  # by an archiver that died before the rows
    number = site.erase()
    site.clock.sleep(ForgetterConfig().settle_s)
    inner = {"store": site.store, "blobs": site.blobs, "bus": site.bus}[part]
    with contextlib.suppress(Killed):
        site.forgetter(**{part: Deadly(inner, method, is_late=is_late)}).run_once()
    for _ in range(2):
        site.forgetter().run_once()
    assert site.receipt(number).finished_at is not None
    assert not site.there(sent(1)) and not site.there(sent(1, sequence=1)) and site.there(sent(2, "hall"))


def test_each_camera_keeps_each_kind_for_its_own_time(site: Site) -> None:
    site.keeping["gate"] = Keeping(1.0, 2.0, 3.0)
    forgetter, tells = site.forgetter(), []
    for _ in range(4):
        forgetter.retain()
        found = site.store.tracklets([sent(1).tracklet_id, sent(2, "hall").tracklet_id])
        vectors = len(site.store.gallery(DIGEST, "appearance", 0, 9)[0].tracklet_ids)
        tells.append((len(found), vectors, site.there(sent(1)), site.there(sent(2, "hall"))))
        site.clock.sleep(DAY_S)
    assert tells == [(2, 2, True, True), (2, 1, True, True), (2, 1, False, True), (1, 1, False, True)]
    age = metrics.OLDEST_AGE.labels("hall", Kind.CROPS.value)._value.get()
    assert age == pytest.approx(3 * DAY_S + 100.0, abs=60.0)


def test_the_bus_keeps_nothing_longer_than_the_archive_does(site: Site) -> None:
    site.keeping |= {"gate": Keeping(1.0, 1.0, 2.0), "hall": Keeping(8.0, 8.0, 9.0)}
    site.bus.publish(StreamName.IDENTITIES, site.store.events_after(0, 9))
    (dead, _) = site.bus.consume(StreamName.CROPS, "embedder", "e1", 9, 0.0)
    site.bus.set_aside(dead, "embedder", "test")
    site.clock.sleep(5 * DAY_S)
    site.forgetter().retain()
    assert site.bus.dead_letters(9) == []
    left = site.bus.consume(StreamName.CROPS, "late", "l1", 9, 0.0)
    assert [each.message.camera_id for each in left] == ["hall"]  # type: ignore[attr-defined]
    told = site.bus.consume(StreamName.IDENTITIES, "late", "l1", 9, 0.0)
    assert [each.message.camera_id for each in told] == ["hall"]  # type: ignore[attr-defined]


def test_a_tracklet_that_comes_when_its_time_is_over_leaves_nothing(site: Site) -> None:
    site.keeping["gate"] = Keeping(1.0, 1.0, 1.0)
    site.clock.sleep(3 * DAY_S)
    site.forgetter().retain()
    site.archive(sent(7), sent(8, at=site.clock.now()))
    site.forgetter().retain()
    assert not site.there(sent(7)) and site.there(sent(8))
