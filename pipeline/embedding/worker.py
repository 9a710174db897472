"""The embedder's loop: tracklets with crops in, one embedding per tracklet out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

from pipeline import metrics
from pipeline.contracts import Image, StreamName, TrackletCrops, TrackletEmbedding
from pipeline.embedding.batching import BatchConfig, is_due, patience_s, taken
from pipeline.embedding.isolation import CropVectors, embed_each
from pipeline.embedding.tracklets import OpenedTracklet, embedding_of, open_tracklet
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


@dataclass(frozen=True, slots=True)
class _Item:
    """A message and what became of it so far."""

    delivery: Delivery
    opened: OpenedTracklet | InvalidMessage

    @property
    def images(self) -> tuple[Image, ...]:
        return self.opened.images if isinstance(self.opened, OpenedTracklet) else ()


class EmbedderWorker:
    """Consumes `crops` as group `embedder` and publishes on `embeddings`.

    While the encoder works on one batch, a thread reads and decodes the next. Published first, acknowledged last: a
    crash at any point only repeats a batch, and the matcher ignores repeats.
    """

    def __init__(self, bus: Bus, encoder: Encoder, clock: Clock, config: EmbedderConfig) -> None:
        self._bus = bus
        self._encoder = encoder
        self._clock = clock
        self._config = config
        self._pool = ThreadPoolExecutor(1 + config.decode_threads, thread_name_prefix="embedder")
        self._waiting: list[tuple[Delivery, float]] = []  # read, not yet batched, with the monotonic time of reading
        self._ahead: Future[list[_Item]] | None = None
        self._in_hand: list[_Item] = []
        self._outgoing: list[TrackletEmbedding] | None = None
        self._failures = 0

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
            metrics.EMBEDDED.inc(len(self._outgoing))
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
        images = [image for item in items for image in item.images]
        started_s = self._clock.monotonic()
        vectors = iter(embed_each(self._encoder, images) if images else ())
        results = [_embedded(item, [next(vectors) for _ in item.images], self._encoder.digest) for item in items]
        if images:
            metrics.EMBED_BATCH.observe(len(images))
            metrics.EMBED_SECONDS.observe(self._clock.monotonic() - started_s)
            self._blame_encoder_first([result for item, result in zip(items, results, strict=True) if item.images])
        for item, result in zip(items, results, strict=True):
            if isinstance(result, InvalidMessage):
                self._set_aside(item, str(result))
        return [result for result in results if isinstance(result, TrackletEmbedding)]

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


def _embedded(
    item: _Item, vectors: Sequence[CropVectors | InvalidMessage], digest: str
) -> TrackletEmbedding | InvalidMessage:
    if isinstance(item.opened, InvalidMessage):
        return item.opened
    try:
        return embedding_of(item.opened, vectors, digest)
    except InvalidMessage as error:
        return error
