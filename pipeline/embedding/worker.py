"""The embedder's loop: tracklets with crops in, one embedding per tracklet and model in force out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, Self

from pipeline import metrics
from pipeline.contracts import Image, StreamName, TrackletCrops, TrackletEmbedding, TrackletId
from pipeline.embedding.batching import BatchConfig, is_due, patience_s, taken
from pipeline.embedding.isolation import PassLimit
from pipeline.embedding.tracklets import OpenedTracklet, embedded, open_tracklet
from pipeline.errors import InvalidMessage, Unavailable
from pipeline.interfaces import Bus, Clock, Delivery, Encoder

log = logging.getLogger(__name__)

GROUP = "embedder"


@dataclass(frozen=True, slots=True)
class EmbedderConfig:
    """One embedder process."""

    consumer: str = "embedder-1"  # must stay the same over restarts, so that its open messages come back to it
    read_tracklets: int = 16  # messages per read of the bus
    idle_s: float = 0.5  # longest wait for the first message of a batch
    decode_threads: int = 2
    attempts: int = 3  # passes over a batch of which no crop can be embedded, before its tracklets are set aside
    batch: BatchConfig = field(default_factory=BatchConfig)


class Encoders(Protocol):
    """The models in force: `EmbeddingModels` in production, `SetEncoders` in tests."""

    def __call__(self) -> Sequence[Encoder]:
        """The encoders for the next batch, the one of the serving model first, and at least one. Never waits."""

    def works(self, encoder: Encoder, is_working: bool) -> None:
        """Told of an encoder beside the first whether it gave vectors of a batch."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A message and what became of it so far."""

    delivery: Delivery
    opened: OpenedTracklet | InvalidMessage

    @property
    def tracklet_id(self) -> TrackletId | None:
        return self.opened.tracklet.tracklet_id if isinstance(self.opened, OpenedTracklet) else None

    @property
    def images(self) -> tuple[Image, ...]:
        return self.opened.images if isinstance(self.opened, OpenedTracklet) else ()


class EmbedderWorker:
    """Consumes `crops` as group `embedder` and publishes on `embeddings`, vectors of the serving model first.

    While the encoder works on one batch, a thread reads and decodes the next. Published first, acknowledged last: a
    crash at any point only repeats a batch, and the matcher ignores repeats.
    """

    def __init__(self, bus: Bus, encoders: Encoders, clock: Clock, config: EmbedderConfig) -> None:
        self._bus = bus
        self._encoders = encoders
        self._clock = clock
        self._config = config
        self._pool = ThreadPoolExecutor(1 + config.decode_threads, thread_name_prefix="embedder")
        self._waiting: list[tuple[Delivery, float]] = []  # read, not yet batched, with the monotonic time of reading
        self._ahead: Future[list[_Item]] | None = None
        self._in_hand: list[_Item] = []
        self._outgoing: list[TrackletEmbedding] | None = None
        self._failures = 0
        self._limits: dict[str, PassLimit] = {}  # of each model

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def run_once(self) -> int:
        """One batch; returns the number of tracklets done with, 0 after a quiet wait.

        Raises `Unavailable` (and keeps the batch in hand) while the bus does not answer or the encoder fails on all.
        """
        if not self._in_hand:
            ahead, self._ahead = self._ahead or self._pool.submit(self._read_batch), None
            self._in_hand = ahead.result()
            self._ahead = self._pool.submit(self._read_batch)
        done = len(self._in_hand)
        if self._outgoing is None:
            self._outgoing = self._embed(self._in_hand)
        if self._outgoing:
            self._bus.publish(StreamName.EMBEDDINGS, self._outgoing)
            # Ack last: before it a crash repeats the batch, after it a crash would have lost it.
            self._bus.acknowledge([item.delivery for item in self._in_hand], GROUP)
            metrics.EMBEDDED.inc(len(self._in_hand))
        self._in_hand, self._outgoing = [], None
        return done

    def _read_batch(self) -> list[_Item]:
        """Runs in the pool: wait until a batch is due, then decode it."""
        config = self._config
        while True:
            waited_s = self._clock.monotonic() - self._waiting[0][1] if self._waiting else 0.0
            crops = sum(_crop_count(delivery) for delivery, _ in self._waiting)
            if is_due(crops, waited_s, config.batch):
                break
            found = self._bus.consume(
                StreamName.CROPS,
                GROUP,
                config.consumer,
                config.read_tracklets,
                patience_s(crops, waited_s, config.idle_s, config.batch),
            )
            if not found and not self._waiting:
                return []
            read_at_s = self._clock.monotonic()
            self._waiting += [(delivery, read_at_s) for delivery in found]
        count = taken((_crop_count(delivery) for delivery, _ in self._waiting), config.batch)
        batch = [delivery for delivery, _ in self._waiting[:count]]
        items = list(self._pool.map(_opened, batch))
        del self._waiting[:count]
        return items

    def _embed(self, items: Sequence[_Item]) -> list[TrackletEmbedding]:
        """Embeddings of the tracklets that have any; the others are set aside."""
        first, *others = self._encoders()
        crops = sum(len(item.images) for item in items)
        started_s = self._clock.monotonic()
        results = self._results(first, items)
        if crops:
            metrics.EMBED_BATCH.observe(crops)
            metrics.EMBED_SECONDS.observe(self._clock.monotonic() - started_s)
            self._blame_encoder_first([result for item, result in zip(items, results, strict=True) if item.images])
        for item, result in zip(items, results, strict=True):
            if isinstance(result, InvalidMessage):
                self._set_aside(item, str(result))
        done = [result for result in results if isinstance(result, TrackletEmbedding)]
        return done + [more for encoder in others for more in self._embed_beside(encoder, done)]

    def _embed_beside(self, encoder: Encoder, done: Sequence[TrackletEmbedding]) -> list[TrackletEmbedding]:
        """Vectors of another model in force, of the tracklets that are done by the first. Its trouble is not theirs."""
        usable = {embedding.tracklet_id for embedding in done}
        items = [item for item in self._in_hand if item.tracklet_id in usable]
        try:
            results = self._results(encoder, items)
        except Unavailable as error:
            results = [InvalidMessage(str(error))]
        found = [result for result in results if isinstance(result, TrackletEmbedding)]
        if items and not found:
            log.error("model %s gives no vector of %d tracklets; the first: %s", encoder.digest, len(items), results[0])
            metrics.SUCCESSOR_FAILURES.inc()
        if items:
            self._encoders.works(encoder, bool(found))
        return found

    def _results(self, encoder: Encoder, items: Sequence[_Item]) -> list[TrackletEmbedding | InvalidMessage]:
        limit = self._limits.setdefault(encoder.digest, PassLimit())
        return embedded([item.opened for item in items], encoder, limit)

    def _blame_encoder_first(self, results: Sequence[TrackletEmbedding | InvalidMessage]) -> None:
        """A pass that yields nothing at all is tried again before its crops are held guilty."""
        self._failures += 1
        if any(isinstance(result, TrackletEmbedding) for result in results):
            self._failures = 0
        elif self._failures < self._config.attempts:
            raise Unavailable(f"the encoder gives no vector for any crop of a batch; the first: {results[0]}")
        else:
            self._failures = 0

    def _set_aside(self, item: _Item, reason: str) -> None:
        self._bus.set_aside(item.delivery, GROUP, reason)
        self._in_hand = [other for other in self._in_hand if other is not item]
        log.warning("set aside %s: %s", item.delivery.entry_id, reason)


def _crop_count(delivery: Delivery) -> int:
    # A message of another kind counts as one, so that it is taken and set aside.
    return len(delivery.message.crops) if isinstance(delivery.message, TrackletCrops) else 1


def _opened(delivery: Delivery) -> _Item:
    try:
        return _Item(delivery, open_tracklet(delivery.message))
    except InvalidMessage as error:
        return _Item(delivery, error)
