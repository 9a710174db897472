from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.contracts import (
    Crop,
    Embeddings,
    Image,
    StreamName,
    TrackletCrops,
    TrackletEmbedding,
    tracklet_id,
    unpack_vector,
)
from pipeline.embedding.batching import BatchConfig
from pipeline.embedding.crops import decode_crop
from pipeline.embedding.worker import GROUP, EmbedderConfig, EmbedderWorker, Encoders
from pipeline.errors import Unavailable
from pipeline.interfaces import Bus, Encoder
from tests.fakes import ColourEncoder, SetEncoders, crop, jpeg, painted, tracklet

RED, BLUE, WHITE = (crop(jpeg(painted(colour))) for colour in ((200, 20, 20), (20, 20, 200), (255, 255, 255)))
BROKEN = crop(b"no jpeg at all")
CONFIG = EmbedderConfig(idle_s=0.02, batch=BatchConfig(crops=8, max_wait_s=0.0))

Start = Callable[..., EmbedderWorker]


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def start(bus: MemoryBus) -> Iterator[Start]:
    """Starts workers, and ends them after the test."""
    started: list[EmbedderWorker] = []

    def begin(encoders: Encoder | Encoders, over: Bus = bus, config: EmbedderConfig = CONFIG) -> EmbedderWorker:
        chosen = encoders if isinstance(encoders, SetEncoders) else SetEncoders(encoders)
        started.append(EmbedderWorker(over, chosen, SystemClock(), config))
        return started[-1]

    yield begin
    for each in started:
        each.__exit__()


def sent(bus: MemoryBus) -> list[TrackletEmbedding]:
    """Everything on the stream of embeddings that was not looked at before."""
    found: list[TrackletEmbedding] = []
    while deliveries := bus.consume(StreamName.EMBEDDINGS, "matcher", "matcher-1", 100, 0.0):
        found += [each.message for each in deliveries if isinstance(each.message, TrackletEmbedding)]
        bus.acknowledge(deliveries, "matcher")
    return found


def put(bus: MemoryBus, *crops_of_each: Sequence[Crop]) -> list[TrackletCrops]:
    tracklets = [tracklet(number, *crops) for number, crops in enumerate(crops_of_each)]
    bus.publish(StreamName.CROPS, tracklets)
    return tracklets


def test_a_tracklet_becomes_an_embedding_of_the_same_name(bus: MemoryBus, start: Start) -> None:
    (seen,) = put(bus, [RED])
    assert start(ColourEncoder()).run_once() == 1
    (embedding,) = sent(bus)
    expected = ColourEncoder().embed_images([decode_crop(RED.jpeg)])
    assert embedding.tracklet_id == seen.tracklet_id
    assert embedding.model_digest == ColourEncoder().digest
    assert embedding.crop_keys == (RED.key,)
    assert (embedding.started_at, embedding.ended_at, embedding.detections) == (0.0, 4.0, 8)
    np.testing.assert_allclose(unpack_vector(embedding.appearance), expected.appearance[0], atol=1e-3)
    np.testing.assert_allclose(unpack_vector(embedding.language), expected.language[0], atol=1e-3)
    assert bus.backlog(StreamName.CROPS, GROUP).pending == 0


def test_all_crops_of_a_batch_go_through_in_one_pass(bus: MemoryBus, start: Start) -> None:
    encoder = ColourEncoder()
    put(bus, [RED, BLUE], [BLUE], [RED, RED, BLUE])
    start(encoder).run_once()
    assert encoder.passes == [6]
    assert len(sent(bus)) == 3


def test_without_messages_a_round_is_quiet(bus: MemoryBus, start: Start) -> None:
    assert start(ColourEncoder()).run_once() == 0


def test_a_tracklet_goes_on_with_its_good_crops(bus: MemoryBus, start: Start) -> None:
    put(bus, [BROKEN, RED], [BLUE, WHITE])
    start(ColourEncoder()).run_once()
    assert [embedding.crop_keys for embedding in sent(bus)] == [(RED.key,), (BLUE.key,)]
    assert bus.dead_letters(9) == []


def test_a_tracklet_without_any_good_crop_is_set_aside_with_the_reason(bus: MemoryBus, start: Start) -> None:
    put(bus, [BROKEN], [RED], [WHITE])
    assert start(ColourEncoder()).run_once() == 3
    assert [embedding.track_id for embedding in sent(bus)] == [1]
    reasons = sorted(letter.reason for letter in bus.dead_letters(9))
    assert "gate/b1/0/0 can be used: crop 0: the crop begins with 6e 6f 20 6a; expected a JPEG" in reasons[0]
    assert "gate/b1/2/0 can be used: the encoder failed on it: RuntimeError: a white crop" in reasons[1]
    assert bus.backlog(StreamName.CROPS, GROUP).pending == 0


def test_a_pass_without_any_result_is_tried_again_before_its_crops_are_blamed(bus: MemoryBus, start: Start) -> None:
    put(bus, [WHITE], [WHITE])
    embedder = start(ColourEncoder())
    for _ in range(CONFIG.attempts - 1):
        with pytest.raises(Unavailable, match="any crop of a batch"):
            embedder.run_once()
        assert bus.dead_letters(9) == []
    embedder.run_once()
    assert len(bus.dead_letters(9)) == 2


def test_a_batch_is_bounded_and_leaves_the_rest_for_the_next(bus: MemoryBus, start: Start) -> None:
    encoder = ColourEncoder()
    put(bus, *[[RED, BLUE, RED]] * 5)
    embedder = start(encoder)
    assert [embedder.run_once() for _ in range(3)] == [2, 2, 1]
    assert encoder.passes == [6, 6, 3]


def test_the_next_batch_is_read_while_the_encoder_works(bus: MemoryBus, start: Start) -> None:
    class Watching(ColourEncoder):
        def embed_images(self, crops: Sequence[Image]) -> Embeddings:
            while bus.backlog(StreamName.CROPS, GROUP).waiting:  # ends only if somebody else reads
                time.sleep(0.001)
            return super().embed_images(crops)

    put(bus, *[[RED] * 8] * 2)
    embedder = start(Watching(), config=EmbedderConfig(idle_s=0.02, read_tracklets=1, batch=BatchConfig(crops=8)))
    assert embedder.run_once() == 1
    assert embedder.run_once() == 1


def test_while_the_bus_is_away_the_batch_stays_in_hand_and_is_embedded_once(bus: MemoryBus, start: Start) -> None:
    class Leaving(ColourEncoder):
        def embed_images(self, crops: Sequence[Image]) -> Embeddings:
            bus.go_away()
            return super().embed_images(crops)

    encoder = Leaving()
    put(bus, [RED], [BLUE])
    embedder = start(encoder)
    with pytest.raises(Unavailable):
        embedder.run_once()
    bus.come_back()
    assert embedder.run_once() == 2
    assert encoder.passes == [2]
    assert {embedding.tracklet_id for embedding in sent(bus)} == {tracklet_id("gate", "b1", n, 0) for n in (0, 1)}


def test_an_embedder_that_died_before_acknowledging_only_repeats(bus: MemoryBus, start: Start) -> None:
    class Dying(MemoryBus):
        def acknowledge(self, deliveries: object, group: str) -> None:
            raise SystemExit

    put(bus, [RED], [BLUE])
    dying = bus.restarted()
    dying.acknowledge = Dying.acknowledge.__get__(dying)  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        start(ColourEncoder(), dying).run_once()
    first = sent(bus)
    again = bus.restarted()
    embedder = start(ColourEncoder(), again)
    while embedder.run_once():
        pass
    assert {embedding.tracklet_id: embedding for embedding in sent(again)} == {each.tracklet_id: each for each in first}
    assert again.backlog(StreamName.CROPS, GROUP).pending == 0


# --- several models ------------------------------

OLD, NEW = "old-model", "new-model"


def test_each_model_in_force_gives_a_vector_the_serving_one_first(bus: MemoryBus, start: Start) -> None:
    put(bus, [RED], [BLUE])
    assert start(SetEncoders(ColourEncoder(OLD), ColourEncoder(NEW))).run_once() == 2
    assert [(seen.track_id, seen.model_digest) for seen in sent(bus)] == [(0, OLD), (1, OLD), (0, NEW), (1, NEW)]
    assert bus.backlog(StreamName.CROPS, GROUP).pending == 0


def test_models_change_between_two_batches(bus: MemoryBus, start: Start) -> None:
    encoders = SetEncoders(ColourEncoder(OLD))
    embedder = start(encoders)
    put(bus, [RED])
    embedder.run_once()
    encoders.encoders = [ColourEncoder(NEW), ColourEncoder(OLD)]
    bus.publish(StreamName.CROPS, [tracklet(7, BLUE)])
    while not embedder.run_once():
        pass
    assert [(seen.track_id, seen.model_digest) for seen in sent(bus)] == [(0, OLD), (7, NEW), (7, OLD)]


@pytest.mark.parametrize("error", [RuntimeError("no memory"), Unavailable("the device is busy")])
def test_a_model_beside_the_serving_one_that_fails_costs_nobody_anything(
    bus: MemoryBus, start: Start, error: Exception
) -> None:
    class Failing(ColourEncoder):
        def embed_images(self, crops: Sequence[Image]) -> Embeddings:
            raise error

    encoders = SetEncoders(ColourEncoder(OLD), Failing(NEW))
    put(bus, [RED], [BROKEN])
    embedder = start(encoders)
    assert embedder.run_once() == 2
    assert [(seen.track_id, seen.model_digest) for seen in sent(bus)] == [(0, OLD)]
    assert len(bus.dead_letters(9)) == 1  # of the broken one, as ever
    assert encoders.working == {NEW: False}
    encoders.encoders[1] = ColourEncoder(NEW)
    bus.publish(StreamName.CROPS, [tracklet(3, RED)])
    while not embedder.run_once():
        pass
    assert encoders.working == {NEW: True}
