"""The matcher's loop: a micro-batch of embeddings in, committed and published identities out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline import metrics
from pipeline.contracts import CameraId, IdentityEvent, StreamName, TrackletEmbedding, TrackletId, expect
from pipeline.decisions import Revision
from pipeline.errors import InvalidMessage, ModelVersionMismatch, SightlineError
from pipeline.forgetting import Kind
from pipeline.gallery import Gallery
from pipeline.interfaces import Bus, Clock, Delivery, Store
from pipeline.kept import KeptCalibration
from pipeline.matching.calibration import Calibration
from pipeline.matching.corrector import apply_corrections, read_laws
from pipeline.matching.eraser import apply_erasures
from pipeline.matching.learning import is_due, learn
from pipeline.matching.models import Models, ServingChoice
from pipeline.matching.people import MemoryConfig, People, rows_of, some_of
from pipeline.matching.publisher import Publisher
from pipeline.matching.recall import recall
from pipeline.matching.reviser import reconsider

log = logging.getLogger(__name__)

GROUP = "matcher"


@dataclass(frozen=True, slots=True)
class MatcherConfig:
    """One matcher process."""

    consumer: str = "matcher-1"  # must stay the same over restarts, so that its open messages come back to it
    batch_tracklets: int = 64
    block_s: float = 0.5  # longest wait for the first message of a batch
    attempts: int = 3  # before a tracklet that makes the matcher stumble is set aside
    look_every_s: float = 2.0  # whether corrections wait, another model is wanted, and tracklets wait for a decision
    erased_marks_s: float = 90 * 86_400.0  # a message that waits for longer may begin an erased person anew
    walks_s: Mapping[tuple[str, str], float] = field(default_factory=dict)  # between two cameras, where it is known
    memory: MemoryConfig = field(default_factory=MemoryConfig)


class MatcherWorker:
    """Consumes `embeddings` as group `matcher`, commits to the store and publishes on `identities`.

    A batch is decided, committed in one transaction, remembered, published and acknowledged, in this order. Dying
    between any two steps only repeats: a tracklet with an assignment keeps it, an event keeps its number. A batch stays
    in hand until it is acknowledged, so the same messages are decided together again after an error.

    Vectors of the serving model decide; those of every other known one are kept for the day on which it serves.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        open_gallery: Callable[[int], Gallery],
        clock: Clock,
        config: MatcherConfig,
        models: Models,
    ) -> None:
        """`open_gallery` makes an empty gallery for vectors of the given dimension."""
        self._bus = bus
        self._store = store
        self._open_gallery = open_gallery
        self._clock = clock
        self._config = config
        self._models = models
        self._publisher = Publisher(bus, store, clock)
        self._serving = ServingChoice(store, models, clock, config.look_every_s)
        self._dimensions: dict[str, int] = {}  # of the appearance vectors of each model
        self._hopeless: set[TrackletId] = set()  # kept tracklets that the matcher stumbles over
        self._people: People | None = None  # None: to be rebuilt from the database
        self._kept_from: dict[CameraId, float] = {}  # of the vectors in that memory
        self._in_hand: list[Delivery] = []
        self._stumbles = 0

    def run_once(self) -> int:
        """One micro-batch; returns the number of messages done with, 0 after a quiet wait.

        Raises `Unavailable` (and keeps the batch in hand) while bus or database do not answer.
        """
        if not self._in_hand:
            if self._serving.is_due():
                self._follow_corrections()
                self._follow_removals()
                self._follow_models()
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
            self.forget()  # the commit may have happened all the same
            raise
        except Exception:
            # A tracklet that trips over a bug must not stop the others for ever.
            self.forget()
            self._stumbles += 1
            if self._stumbles < self._config.attempts:
                raise
            log.exception("a batch of %d failed %d times; matching one by one", len(self._in_hand), self._stumbles)
            self._match_one_by_one()
        self._in_hand, self._stumbles = [], 0
        return done

    def forget(self) -> None:
        """Read everything again from the database, as after a restart: somebody else may have written."""
        self._people = None
        self._serving.forget()

    def _match_one_by_one(self) -> None:
        for delivery in list(self._in_hand):
            try:
                self._match([delivery])
            except SightlineError:
                raise
            except Exception as error:
                # Whatever this is, it is bound to this tracklet: the operator sees it among the dead letters.
                self.forget()
                self._set_aside(delivery, f"the matcher failed on it: {type(error).__name__}: {error}"[:400])
            self._let_go(delivery)

    def _match(self, deliveries: Sequence[Delivery]) -> None:
        started_s = self._clock.monotonic()
        usable = self._usable(deliveries)
        gone = self._store.gone(usable, Kind.VECTORS)
        usable = [seen for seen in usable if seen.tracklet_id not in gone]
        serving = [seen for seen in usable if seen.model_digest == self._serving.digest]
        others = [seen for seen in usable if seen.model_digest != self._serving.digest]
        committed = self._decide(serving) if serving else []
        # After the decisions: most of these belong to tracklets whose identity was decided just now.
        self._store.add_vectors(others)
        self._publisher.publish(committed)
        # Ack last: whatever happens before it only repeats the batch, and a repeat changes nothing.
        in_hand = {delivery.entry_id for delivery in self._in_hand}
        self._bus.acknowledge([delivery for delivery in deliveries if delivery.entry_id in in_hand], GROUP)
        metrics.MATCH_BATCH.observe(len(deliveries))
        metrics.MATCH_SECONDS.observe(self._clock.monotonic() - started_s)

    def _follow_corrections(self) -> None:
        """Apply what people say about who is who, and publish it with whatever a crash left unpublished."""
        try:
            effects = apply_corrections(self._store, self._clock)
            if effects and self._people is not None:
                self._revise(self._people, [revision for effect in effects for revision in effect.revisions])
                self._people.laws = read_laws(self._store)
        except SightlineError:
            self.forget()  # the commit may have happened all the same
            raise
        self._publisher.publish()

    def _follow_removals(self) -> None:
        """Forget whom the database is to forget, and looks that have been kept long enough."""
        try:
            if apply_erasures(self._store, self._clock, self._config.erased_marks_s):
                self._people = None  # rare enough to be certain: nothing of an erased person is in a new memory
                self._publisher.publish()
            kept_from = self._store.vectors_kept_from()
            people, digest = self._people, self._serving.digest
            if kept_from != self._kept_from and people is not None and digest is not None:
                outlived = people.begun_before(kept_from)
                people.reload(outlived, self._store.rows_of_identity(digest, outlived))
            self._kept_from = kept_from
        except SightlineError:
            self.forget()  # the commit may have happened all the same
            raise

    def _revise(self, people: People, revisions: Sequence[Revision]) -> None:
        """Let the memory follow what was committed."""
        digest = self._serving.digest
        if revisions and digest is not None:
            touched = {global_id for each in revisions for global_id in (each.from_id, each.to_id)}
            people.revise(revisions, self._store.rows_of_identity(digest, sorted(touched)))

    def _follow_models(self) -> None:
        """Change over to the wanted model when it is time, and decide what was kept until its model serves."""
        try:
            if self._serving.follow():
                self._people = None
            if self._serving.digest is not None:
                self._decide_waiting(self._serving.digest)
        except SightlineError:
            self.forget()  # as with a batch: the commit may have happened all the same
            raise

    def _decide_waiting(self, digest: str) -> None:
        while waiting := self._waiting(digest):
            log.info("%d tracklets that waited for model %s are decided", len(waiting), digest)
            try:
                self._decide(waiting)
            except SightlineError:
                raise
            except Exception:
                # As with a batch from the bus: one tracklet must not stop the others.
                log.exception("%d tracklets that waited cannot be decided; deciding one by one", len(waiting))
                self._decide_one_by_one(waiting)
            self._publisher.publish()

    def _waiting(self, digest: str) -> list[TrackletEmbedding]:
        """Tracklets whose vectors came before their model served."""
        found = self._store.undecided(digest, self._config.batch_tracklets + len(self._hopeless))
        return [seen for seen in found if seen.tracklet_id not in self._hopeless]

    def _decide_one_by_one(self, waiting: Sequence[TrackletEmbedding]) -> None:
        for seen in waiting:
            try:
                self._people = None
                self._decide([seen])
            except SightlineError:
                raise
            except Exception:
                log.exception("%s stays without an identity until the matcher is started again", seen.tracklet_id)
                self._people = None
                self._hopeless.add(seen.tracklet_id)

    def _usable(self, deliveries: Sequence[Delivery]) -> list[TrackletEmbedding]:
        """The first message of each tracklet and model; what can never be matched is set aside."""
        usable: dict[tuple[TrackletId, str], TrackletEmbedding] = {}
        for delivery in deliveries:
            try:
                tracklet = self._checked(delivery)
            except (InvalidMessage, ModelVersionMismatch) as error:
                self._set_aside(delivery, str(error))
            else:
                usable.setdefault((tracklet.tracklet_id, tracklet.model_digest), tracklet)
        return list(usable.values())

    def _set_aside(self, delivery: Delivery, reason: str) -> None:
        self._bus.set_aside(delivery, GROUP, reason)
        self._let_go(delivery)
        log.warning("set aside %s: %s", delivery.entry_id, reason)

    def _let_go(self, delivery: Delivery) -> None:
        self._in_hand = [other for other in self._in_hand if other is not delivery]

    def _checked(self, delivery: Delivery) -> TrackletEmbedding:
        message = expect(TrackletEmbedding, delivery.message, StreamName.EMBEDDINGS)
        self._serving.begin_with(message)
        digest, serving = message.model_digest, self._serving.digest
        if digest != serving and not self._serving.has_known(digest):
            raise ModelVersionMismatch(
                f"{message.tracklet_id} was embedded by model {digest!r}, but {serving!r} serves, and no other of that "
                "digest was ever promoted here; let all services use one data folder and the same embedding.model, or "
                "promote that model, then replay the dead letters"
            )
        dimension = len(message.appearance) // 2
        if dimension != self._dimensions.setdefault(digest, dimension):
            raise InvalidMessage(
                f"{message.tracklet_id} has an appearance vector of {dimension} numbers; others of model {digest!r} "
                f"have {self._dimensions[digest]}: check the embedders"
            )
        return message

    def _decide(self, tracklets: Sequence[TrackletEmbedding]) -> list[IdentityEvent]:
        """Commit identities for those that have none, and remember what is new; all are of the serving model."""
        events: list[IdentityEvent] = []
        people = self._people = self._people or self._remembered(tracklets[0])
        assigned = self._store.assignments([tracklet.tracklet_id for tracklet in tracklets])
        late = [tracklet for tracklet in tracklets if tracklet.tracklet_id in assigned]
        if added := self._store.add_vectors(late):
            whose = {assigned[tracklet.tracklet_id] for tracklet in added}
            rows = self._store.rows_of_identity(tracklets[0].model_digest, sorted(whose))
            people.remember(some_of(rows, {tracklet.tracklet_id for tracklet in added}))
        fresh = [tracklet for tracklet in tracklets if tracklet.tracklet_id not in assigned]
        if fresh:
            # Only here, where a repeated batch does not come: it must meet the calibration that it was decided with.
            people = self._people = self._taught(people, tracklets[0])
            decisions = people.decide(fresh, self._store.next_global_id())
            now = self._clock.now()
            events = self._store.commit_decisions(decisions, now)
            if len(events) < len(decisions):  # somebody else has assigned some of them in the meantime
                self._people = None
                return events
            people.remember(rows_of(decisions, [now] * len(decisions)))
            opened = sum(event.is_new for event in events)
            metrics.IDENTITIES_OPENED.inc(opened)
            metrics.IDENTITIES_JOINED.inc(len(events) - opened)
        events += reconsider(people, self._store, tracklets, self._clock.now())
        metrics.GALLERY_ROWS.set(len(people))
        return events

    def _taught(self, people: People, seen: TrackletEmbedding) -> People:
        """Let the site teach the matcher, when there is enough more of it. It is kept before anything rests on it."""
        if not is_due(people.tracklets, people.calibration.tracklets):
            return people
        calibration = learn(people, self._config.walks_s)
        kept = KeptCalibration(calibration.number, self._clock.now(), calibration.packed())
        self._store.keep_calibration(seen.model_digest, kept)
        if not people.same_clocks(calibration):
            log.warning("clocks of cameras differ: %s", calibration.told_clocks())
            return self._remembered(seen)
        people.calibrate(calibration)
        return people

    def _remembered(self, seen: TrackletEmbedding) -> People:
        """Everything the database knows for the serving model, in the order in which it was decided.

        `seen` tells the dimension of its vectors.
        """
        started_s = self._clock.monotonic()
        digest, dimension = seen.model_digest, len(seen.appearance) // 2
        memory = replace(self._config.memory, prior=self._models.prior(digest))
        kept = self._store.newest_calibration(digest)
        calibration = None if kept is None else Calibration.unpacked(kept.content)
        people = People(self._open_gallery(dimension), dimension, memory, calibration)
        people.laws = read_laws(self._store)
        recall(people, self._store, digest)
        # What was forgotten since has taught all the same: the next lesson comes when there is more.
        people.tracklets = max(people.tracklets, people.calibration.tracklets)
        took_s = self._clock.monotonic() - started_s
        log.info("remembered %d people of model %s in %.1f s", len(people), digest, took_s)
        return people
