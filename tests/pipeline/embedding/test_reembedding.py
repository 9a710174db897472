"""The archive embedded again: all that is missing and can be made, little of it twice, and nothing for ever."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from pipeline.adapters.blobs import MemoryBlobs
from pipeline.adapters.crop_archive import StoredCropArchive
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.store import SqlStore
from pipeline.contracts import Crop, Embeddings, GlobalId, Image, StreamName, TrackletCrops, TrackletEmbedding
from pipeline.decisions import Decision
from pipeline.embedding.reembedding import READER, Reembedder, ReembedderConfig
from pipeline.embedding.tracklets import open_tracklet
from pipeline.errors import ConfigurationError
from pipeline.kept import Coverage
from tests.fakes import ColourEncoder, HandClock, crop, embedding, jpeg, painted, tracklet

OLD, NEW = "old-model", "new-model"
CONFIG = ReembedderConfig(batch_tracklets=4, most_waiting=8)
RED, BLUE, WHITE = (crop(jpeg(painted(colour))) for colour in ((200, 20, 20), (20, 20, 200), (255, 255, 255)))


class SetTargets:
    """`Targets` as a test sets them."""

    def __init__(self) -> None:
        self.named: tuple[str | None, str | None] = (OLD, NEW)
        self.encoders: dict[str, ColourEncoder] = {OLD: ColourEncoder(OLD), NEW: ColourEncoder(NEW)}
        self.held: str | None = None
        self.loads = 0

    def serving(self) -> str | None:
        return self.named[0]

    def wanted(self) -> str | None:
        return self.named[1]

    def open(self, digest: str) -> ColourEncoder:
        if digest not in self.encoders:
            raise ConfigurationError("torn")
        self.loads += self.held != digest
        self.held = digest
        return self.encoders[digest]

    def let_go(self) -> None:
        self.held = None


class Site:
    def __init__(self) -> None:
        self.store, self.blobs, self.bus, self.clock = SqlStore.in_memory(), MemoryBlobs(), MemoryBus(), HandClock()
        self.targets = SetTargets()
        self.sent: list[TrackletEmbedding] = []
        self.restart()

    def restart(self) -> None:
        archive = StoredCropArchive(self.store, self.blobs)
        self.reembedder = Reembedder(self.bus, archive, self.targets, self.clock, CONFIG)

    def archive(self, track_id: int, *crops: Crop, digests: Sequence[str] = (OLD,)) -> TrackletCrops:
        """A tracklet with its crops, decided where it has a vector."""
        seen = tracklet(track_id, *crops).model_copy(update={"ended_at": self.clock.now()})
        for each in crops:
            self.blobs.put(each.jpeg)
        self.store.archive_tracklet(seen)
        for digest in digests:
            made = embedding(track_id=track_id, digest=digest)
            self.store.commit_decisions([Decision(made, GlobalId(1), False, 0.9, "test")], 1.0)
        return seen

    def match(self) -> None:
        """What the matcher does with the vectors."""
        while deliveries := self.bus.consume(StreamName.EMBEDDINGS, READER, "matcher-1", 100, 0.0):
            found = [each.message for each in deliveries if isinstance(each.message, TrackletEmbedding)]
            self.sent += found
            self.store.add_vectors(found)
            self.bus.acknowledge(deliveries, READER)

    def run(self, rounds: int = 30) -> None:
        for _ in range(rounds):
            self.reembedder.run_once()
            self.match()

    def vectors(self) -> list[tuple[int, str]]:
        return [(seen.track_id, seen.model_digest) for seen in self.sent]


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.store.close()


def test_the_archive_gets_the_vectors_that_the_embedder_would_have_given(site: Site) -> None:
    kept = [site.archive(number, RED, BLUE) for number in range(10)]
    site.run()
    assert site.vectors() == [(number, NEW) for number in range(10)]
    assert site.store.coverage(NEW) == Coverage(10, 10, 0)
    opened = open_tracklet(kept[3])
    direct = ColourEncoder(NEW).embed_images(opened.images)
    assert len(site.sent[3].crop_keys) == 2
    assert site.sent[3].model_copy(update={"appearance": b"", "language": b""}) == embedding(
        track_id=3, digest=NEW, ended_at=kept[3].ended_at
    ).model_copy(
        update={"appearance": b"", "language": b"", "quality": site.sent[3].quality, "crop_keys": (RED.key, BLUE.key)}
    )
    assert len(site.sent[3].appearance) == 2 * direct.appearance.shape[1]


def test_what_lacks_the_serving_model_comes_first(site: Site) -> None:
    site.archive(1, RED, digests=[OLD])
    site.archive(2, RED, digests=[NEW])  # decided by a model that served before
    site.run()
    assert site.vectors() == [(2, OLD), (1, NEW)]


def test_a_site_that_wants_what_serves_has_nothing_to_do_and_holds_no_model(site: Site) -> None:
    site.targets.named = (OLD, OLD)
    site.archive(1, RED)
    site.run()
    assert (site.vectors(), site.targets.loads) == ([], 0)


def test_a_model_is_held_for_a_while_and_then_let_go(site: Site) -> None:
    for number in range(6):
        site.archive(number, RED)
        site.run(rounds=3)
    assert site.targets.loads == 1
    site.run()
    assert site.targets.held is None


def test_after_a_kill_the_rest_is_made(site: Site) -> None:
    for number in range(20):
        site.archive(number, RED)
    site.reembedder.run_once()
    site.match()
    site.restart()
    site.run()
    assert sorted(site.vectors()) == [(number, NEW) for number in range(20)]


def test_it_waits_while_the_matcher_is_behind(site: Site) -> None:
    for number in range(20):
        site.archive(number, RED)
    for _ in range(30):
        site.reembedder.run_once()
    waiting = site.bus.backlog(StreamName.EMBEDDINGS, READER).waiting
    assert CONFIG.most_waiting < waiting <= CONFIG.most_waiting + CONFIG.batch_tracklets
    site.run()
    assert site.store.coverage(NEW).share == 1.0
    assert len(site.vectors()) == 20  # nothing was made twice


def test_lost_and_damaged_crops_are_left_out_named_and_block_nothing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    torn = crop(b"\xff\xd8 torn \xff\xd9")
    for number, crops in enumerate([(RED, BLUE), (BLUE,), (torn,), (RED, torn)]):
        site.archive(number, *crops)
    site.blobs.delete(BLUE.key)
    site.run()
    assert [(seen.track_id, seen.crop_keys) for seen in site.sent] == [(0, (RED.key,)), (3, (RED.key,))]
    assert site.store.coverage(NEW) == Coverage(2, 2, 2)
    assert f"gate/b1/0/0: crop 1, {BLUE.key}, is lost or damaged" in caplog.text
    assert "gate/b1/1/0 gets no vector of model new-model: no crop is left" in caplog.text


def test_a_crop_over_which_the_model_stumbles_is_given_up_after_some_attempts(site: Site) -> None:
    site.archive(1, WHITE)
    site.archive(2, RED)
    site.run()
    assert (site.vectors(), site.store.coverage(NEW)) == ([(2, NEW)], Coverage(1, 1, 1))
    site.archive(3, WHITE)
    site.run(rounds=2)
    assert site.store.coverage(NEW).failed == 1  # alone, it might be the model
    site.run(rounds=200)
    assert site.store.coverage(NEW).failed == 2


def test_a_model_that_gives_no_vector_at_all_is_no_fault_of_the_crops(site: Site) -> None:
    class Broken(ColourEncoder):
        def embed_images(self, crops: Sequence[Image]) -> Embeddings:
            raise RuntimeError("no memory")

    site.targets.encoders[NEW] = Broken(NEW)
    for number in range(12):
        site.archive(number, RED)
    site.reembedder = Reembedder(
        site.bus,
        StoredCropArchive(site.store, site.blobs),
        site.targets,
        site.clock,
        ReembedderConfig(batch_tracklets=8),
    )
    site.run(rounds=300)
    assert site.store.coverage(NEW) == Coverage(0, 12, 0)
    site.targets.encoders[NEW] = ColourEncoder(NEW)
    site.run(rounds=60)
    assert site.store.coverage(NEW) == Coverage(12, 12, 0)


def test_a_model_that_cannot_be_loaded_holds_up_no_other(site: Site) -> None:
    del site.targets.encoders[OLD]
    site.archive(1, RED, digests=[NEW])
    site.archive(2, RED, digests=[OLD])
    site.run()
    assert site.vectors() == [(2, NEW)]
    site.targets.encoders[OLD] = ColourEncoder(OLD)
    site.run(rounds=60)
    assert site.vectors() == [(2, NEW), (1, OLD)]


def test_a_vector_that_the_matcher_does_not_keep_is_not_made_for_ever(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.archive(1, RED)
    monkeypatch.setattr(site.store, "add_vectors", lambda _: [])
    site.run(rounds=100)
    assert len(site.vectors()) == CONFIG.attempts + 1
    assert site.store.coverage(NEW) == Coverage(0, 0, 1)


def test_a_tracklet_that_was_passed_over_is_embedded_for_its_decision(site: Site) -> None:
    site.archive(1, RED, digests=[])
    site.run(rounds=3)
    assert site.vectors() == []  # the embedder may still have it
    site.clock.sleep(CONFIG.repair_after_s)
    site.bus.publish(StreamName.CROPS, [tracklet(9, RED)])
    site.run(rounds=3)
    assert site.vectors() == []  # the embedder is behind
    site.bus.acknowledge(site.bus.consume(StreamName.CROPS, "embedder", "embedder-1", 9, 0.0), "embedder")
    site.run(rounds=3)
    assert site.vectors() == [(1, OLD)]


def test_tracklets_that_cameras_add_meanwhile_are_met(site: Site) -> None:
    for number in range(8):
        site.archive(number, RED)
        site.clock.sleep(1.0)
    site.reembedder.run_once()
    site.match()
    late = tracklet(77, RED).model_copy(update={"ended_at": site.clock.now() - 6.0})  # archived late
    site.store.archive_tracklet(late)
    site.store.commit_decisions([Decision(embedding(track_id=77, digest=OLD), GlobalId(1), False, 0.9, "test")], 1.0)
    site.archive(99, RED)
    site.run()
    assert {number for number, _ in site.vectors()} == {*range(8), 77, 99}
