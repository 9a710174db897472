"""The matcher's loop: a micro-batch of embeddings in, committed and published identities out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pipeline import metrics
from pipeline.contracts import StreamName, TrackletEmbedding, TrackletId
from pipeline.errors import InvalidMessage, ModelVersionMismatch, SightlineError
from pipeline.interfaces import Bus, Clock, Delivery, Gallery, Store
from pipeline.matching.people import MemoryConfig, People, rows_of

log = logging.getLogger(__name__)

GROUP = "matcher"
_PAGE_ROWS = 4096
_PAGE_EVENTS = 512


@dataclass(frozen=True, slots=True)
class MatcherConfig:
    """One matcher process."""

    consumer: str = "matcher-1"  # must stay the same over restarts, so that its open messages come back to it
    batch_tracklets: int = 64
    block_s: float = 0.5  # longest wait for the first message of a batch
    attempts: int = 3  # before a tracklet that makes the matcher stumble is set aside
    model_digest: str | None = None  # the serving model; None: that of the first message
    memory: MemoryConfig = field(default_factory=MemoryConfig)


class MatcherWorker:
    """Consumes `embeddings` as group `matcher`, commits to the store and publishes on `identities`.

    A batch is decided, committed in one transaction, remembered, published and acknowledged, in this order. Dying
    between any two steps only repeats: a tracklet with an assignment keeps it, an event keeps its number. A batch stays
    in hand until it is acknowledged, so the same messages are decided together again after an error.
    """

    def __init__(
        self, bus: Bus, store: Store, open_gallery: Callable[[int], Gallery], clock: Clock, config: MatcherConfig
    ) -> None:
        """`open_gallery` makes an empty gallery for vectors of the given dimension."""
        self._bus = bus
        self._store = store
        self._open_gallery = open_gallery
        self._clock = clock
        self._config = config
        self._digest = config.model_digest
        self._dimension = 0
        self._people: People | None = None  # None: to be rebuilt from the database
        self._in_hand: list[Delivery] = []
        self._stumbles = 0

    def run_once(self) -> int:
        """One micro-batch; returns the number of messages done with, 0 after a quiet wait.

        Raises `Unavailable` (and keeps the batch in hand) while bus or database do not answer.
        """
        if not self._in_hand:
            config = self._config
            self._in_hand = self._bus.consume(
                StreamName.EMBEDDINGS, GROUP, config.consumer, config.batch_tracklets, config.block_s
            )
        if not self._in_hand:
            return 0
        done = len(self._in_hand)
        try:
            self._match(self._in_hand)
        except SightlineError:
            self._people = None  # the commit may have happened all the same
            raise
        except Exception:
            # A tracklet that trips over a bug must not stop the others for ever.
            self._people = None
            self._stumbles += 1
            if self._stumbles < self._config.attempts:
                raise
            log.exception("a batch of %d failed %d times; matching one by one", len(self._in_hand), self._stumbles)
            self._match_one_by_one()
        self._in_hand, self._stumbles = [], 0
        return done

    def _match_one_by_one(self) -> None:
        for delivery in list(self._in_hand):
            try:
                self._match([delivery])
            except SightlineError:
                raise
            except Exception as error:
                # Whatever this is, it is bound to this tracklet: the operator sees it among the dead letters.
                self._people = None
                self._set_aside(delivery, f"the matcher failed on it: {type(error).__name__}: {error}"[:400])
            self._let_go(delivery)

    def _match(self, deliveries: Sequence[Delivery]) -> None:
        started_s = self._clock.monotonic()
        usable = self._usable(deliveries)
        if usable:
            self._decide(list(usable.values()))
        self._publish_events()
        # Ack last: whatever happens before it only repeats the batch, and a repeat changes nothing.
        self._bus.acknowledge([delivery for delivery in deliveries if delivery in self._in_hand], GROUP)
        metrics.MATCH_BATCH.observe(len(deliveries))
        metrics.MATCH_SECONDS.observe(self._clock.monotonic() - started_s)

    def _usable(self, deliveries: Sequence[Delivery]) -> dict[TrackletId, TrackletEmbedding]:
        """The first message of each tracklet; what can never be matched is set aside."""
        usable: dict[TrackletId, TrackletEmbedding] = {}
        for delivery in deliveries:
            try:
                tracklet = self._checked(delivery)
            except (InvalidMessage, ModelVersionMismatch) as error:
                self._set_aside(delivery, str(error))
            else:
                usable.setdefault(tracklet.tracklet_id, tracklet)
        return usable

    def _set_aside(self, delivery: Delivery, reason: str) -> None:
        self._bus.set_aside(delivery, GROUP, reason)
        self._let_go(delivery)
        log.warning("set aside %s: %s", delivery.entry_id, reason)

    def _let_go(self, delivery: Delivery) -> None:
        self._in_hand = [other for other in self._in_hand if other is not delivery]

    def _checked(self, delivery: Delivery) -> TrackletEmbedding:
        message = delivery.message
        if not isinstance(message, TrackletEmbedding):
            raise InvalidMessage(
                f"a {type(message).__name__} stands on the stream of embeddings; expected a TrackletEmbedding: "
                "look for a program that publishes on the wrong stream"
            )
        if self._digest is None:
            self._digest = message.model_digest
        if message.model_digest != self._digest:
            raise ModelVersionMismatch(
                f"{message.tracklet_id} was embedded by model {message.model_digest!r}, but the gallery holds vectors "
                f"of {self._digest!r}, and the two are never compared; start embedder and matcher with the same "
                "model, then replay the dead letters"
            )
        dimension = len(message.appearance) // 2
        self._dimension = self._dimension or dimension
        if dimension != self._dimension:
            raise InvalidMessage(
                f"{message.tracklet_id} has an appearance vector of {dimension} numbers; the gallery holds "
                f"{self._dimension}, although both name model {self._digest!r}: check the embedders"
            )
        return message

    def _decide(self, tracklets: Sequence[TrackletEmbedding]) -> None:
        people = self._people = self._people or self._remembered()
        assigned = self._store.assignments([tracklet.tracklet_id for tracklet in tracklets])
        fresh = [tracklet for tracklet in tracklets if tracklet.tracklet_id not in assigned]
        if not fresh:
            return
        decisions = people.decide(fresh, self._store.next_global_id())
        events = self._store.commit_decisions(decisions, self._clock.now())
        if len(events) == len(decisions):
            people.remember(rows_of(decisions))
        else:  # somebody else has assigned some of them in the meantime
            self._people = None
        opened = sum(event.is_new for event in events)
        metrics.IDENTITIES_OPENED.inc(opened)
        metrics.IDENTITIES_JOINED.inc(len(events) - opened)
        metrics.GALLERY_ROWS.set(len(people))

    def _remembered(self) -> People:
        """Everything the database knows for the serving model."""
        people = People(self._open_gallery(self._dimension), self._config.memory)
        position = 0
        while True:
            rows, position = self._store.gallery(str(self._digest), "appearance", position, _PAGE_ROWS)
            if not rows.tracklet_ids:
                log.info("remembered %d exemplars of model %s", len(people), self._digest)
                return people
            people.remember(rows)

    def _publish_events(self) -> None:
        while events := self._store.unpublished_events(_PAGE_EVENTS):
            self._bus.publish(StreamName.IDENTITIES, events)
            self._store.mark_published(events[-1].event_id)
            now = self._clock.now()
            for event in events:
                if event.ended_at is not None:
                    metrics.CAPTURE_TO_IDENTITY.observe(max(0.0, now - event.ended_at))
