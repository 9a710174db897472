"""The archive embedded again, in the background: whatever lacks a vector of the serving or of the wanted model.

What is missing is a question to the database, so nothing has to be remembered: after a kill the same question gives the
rest. The serving model comes first, because people without its vector cannot be found now. Within a model the walk goes
from the earliest tracklet on: nothing is gained before all is there, and so it meets what cameras add at its end.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline import metrics
from pipeline.contracts import StreamName, TrackletCrops, TrackletEmbedding, TrackletId
from pipeline.embedding.isolation import PassLimit
from pipeline.embedding.tracklets import OpenedTracklet, embedded, open_tracklet
from pipeline.errors import ConfigurationError, InvalidMessage
from pipeline.interfaces import Bus, Clock, Encoder
from pipeline.kept import Coverage, FailedEmbedding, Position

log = logging.getLogger(__name__)

READER, EMBEDDER = "matcher", "embedder"  # groups: of the embeddings, and of the crops
_START = Position(float("-inf"), TrackletId(""))
_CALM = 20.0  # looking in vain takes at most one part in so many of the time
_MANY = 8  # tracklets of which none has a vector: that is no chance, but the model


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A tracklet from the archive. `problems` tells what is wrong with the crops that are left out."""

    tracklet_id: TrackletId
    tracklet: TrackletCrops | None  # None: no crop is left
    problems: tuple[str, ...]


class CropArchive(Protocol):
    """Tracklets and crops that were kept: `StoredCropArchive` over database and blobs; its parts in memory in tests.

    Every method raises `Unavailable` while database or blobs do not answer.
    """

    def missing(
        self, model_digest: str, after: Position, limit: int, undecided_before: float | None
    ) -> Sequence[Position]:
        """What has no vector of a model; see `ModelChanges.missing`."""

    def read(self, tracklet_ids: Sequence[TrackletId]) -> list[Rebuilt]:
        """Tracklets as the camera sent them, in this order."""

    def coverage(self, model_digest: str) -> Coverage: ...

    def note_failures(self, failures: Sequence[FailedEmbedding], failed_at: float) -> None: ...


class Targets(Protocol):
    """The models that the archive needs vectors of: registry and database in production."""

    def serving(self) -> str | None: ...

    def wanted(self) -> str | None: ...

    def open(self, digest: str) -> Encoder:
        """The model, loaded if need be, instead of any other. Raises `ConfigurationError` where that fails."""

    def let_go(self) -> None:
        """Hold no model."""


@dataclass(frozen=True, slots=True)
class ReembedderConfig:
    """How gently the archive is embedded again."""

    batch_tracklets: int = 16
    most_waiting: int = 64  # messages before the matcher, its own and everybody's; beyond them it waits
    repair_after_s: float = 60.0  # a tracklet without an identity for so long was passed over
    attempts: int = 3  # at a batch without any vector, and at a tracklet whose vector the matcher does not keep
    idle_s: float = 2.0  # between two looks that find nothing; longer where looking takes long
    hold_s: float = 30.0  # a model is let go when nothing was missing for so long
    pause_s: float = 0.2
    retry_s: float = 60.0  # after a model could not be loaded, or gave nothing
    tell_every_s: float = 10.0


class Reembedder:
    """Publishes vectors on `embeddings` as embedders do, so that the matcher stays the only one who writes them."""

    def __init__(
        self, bus: Bus, archive: CropArchive, targets: Targets, clock: Clock, config: ReembedderConfig
    ) -> None:
        self._bus = bus
        self._archive = archive
        self._targets = targets
        self._clock = clock
        self._config = config
        self._walks: dict[str, Position] = {}  # of each model: how far, as long as the walk is under way
        self._refused: Counter[tuple[str, TrackletId]] = Counter()  # sent, and still missing at the next walk
        self._ended_walks: set[str] = set()
        self._failures = 0
        self._not_before_s: dict[str, float] = {}
        self._limits: dict[str, PassLimit] = {}
        self._busy_at_s = self._tell_at_s = float("-inf")

    def run_once(self) -> int:
        """One batch; returns the number of tracklets sent, 0 after a wait."""
        started_s = self._clock.monotonic()
        waiting = self._waiting(StreamName.EMBEDDINGS, READER)
        if waiting > self._config.most_waiting:
            self._clock.sleep(self._config.pause_s)
            return 0
        for digest in self._digests():
            page = self._next_page(digest, waiting)
            if page:
                self._busy_at_s = started_s
                return self._embed(digest, page)
        if started_s - self._busy_at_s >= self._config.hold_s:
            self._targets.let_go()
        self._tell()
        # A look that finds nothing has seen the whole archive.
        self._clock.sleep(max(self._config.idle_s, _CALM * (self._clock.monotonic() - started_s)))
        return 0

    def _digests(self) -> list[str]:
        """The models to complete, the serving one first, but for those that had better rest."""
        named = dict.fromkeys(d for d in (self._targets.serving(), self._targets.wanted()) if d is not None)
        now_s = self._clock.monotonic()
        self._walks = {digest: place for digest, place in self._walks.items() if digest in named}
        return [digest for digest in named if now_s >= self._not_before_s.get(digest, float("-inf"))]

    def _next_page(self, digest: str, waiting: int) -> Sequence[Position]:
        """What to embed next. At the end of a walk, empty until the matcher has kept all that was sent."""
        place = self._walks.get(digest, _START)
        page = self._archive.missing(digest, place, self._config.batch_tracklets, self._undecided_before(digest))
        if page:
            self._walks[digest] = page[-1]
        elif digest in self._walks and waiting == 0:
            # From the beginning: something may have come in behind, or have got lost on its way.
            del self._walks[digest]
            self._ended_walks.add(digest)
        elif digest not in self._walks:
            self._ended_walks.discard(digest)
            self._refused = Counter({key: count for key, count in self._refused.items() if key[0] != digest})
        return page

    def _undecided_before(self, digest: str) -> float | None:
        """Tracklets that the embedder passed over get the vector that decides about them; what it has yet to do, it
        does."""
        if digest != self._targets.serving() or self._waiting(StreamName.CROPS, EMBEDDER):
            return None
        return self._clock.now() - self._config.repair_after_s

    def _embed(self, digest: str, page: Sequence[Position]) -> int:
        try:
            encoder = self._targets.open(digest)
        except ConfigurationError as error:
            self._rest(digest, f"model {digest} cannot be loaded: {error}")
            metrics.MODEL_LOAD_FAILURES.labels("reembedder").inc()
            return 0
        names = [place.tracklet_id for place in page]
        opened = [_opened(rebuilt) for rebuilt in self._archive.read(names)]
        results = embedded(opened, encoder, self._limits.setdefault(digest, PassLimit()))
        found = [result for result in results if isinstance(result, TrackletEmbedding)]
        tried = sum(isinstance(each, OpenedTracklet) for each in opened)
        if found:
            self._failures = 0
        elif tried and not self._is_blamed_on_crops(digest, tried):
            self._walks.pop(digest)
            return 0
        failures = [
            FailedEmbedding(name, digest, str(result))
            for name, result in zip(names, results, strict=True)
            if isinstance(result, InvalidMessage)
        ]
        failures += self._not_kept(digest, found)
        self._bus.publish(StreamName.EMBEDDINGS, found)
        metrics.REEMBEDDED.inc(len(found))
        self._note(failures)
        self._tell()
        return len(found)

    def _is_blamed_on_crops(self, digest: str, tracklets: int) -> bool:
        """Whether a batch without any vector is its own fault: when it is small, and after some attempts."""
        self._failures += 1
        if tracklets < _MANY and self._failures >= self._config.attempts:
            self._failures = 0
            return True
        self._rest(digest, f"model {digest} gives no vector of any of {tracklets} tracklets")
        metrics.SUCCESSOR_FAILURES.inc()
        return False

    def _rest(self, digest: str, reason: str) -> None:
        self._not_before_s[digest] = self._clock.monotonic() + self._config.retry_s
        log.error("%s; it is tried again in %.0f s", reason, self._config.retry_s)

    def _not_kept(self, digest: str, found: Sequence[TrackletEmbedding]) -> list[FailedEmbedding]:
        """Tracklets whose vector was sent in several walks and is missing all the same: the matcher sets it aside."""
        if digest not in self._ended_walks:
            return []
        keys = [(digest, embedding.tracklet_id) for embedding in found]
        self._refused.update(keys)
        reason = "its vector was sent again and again and not kept; see `sightline dead list`"
        too_often = [name for _, name in keys if self._refused[digest, name] >= self._config.attempts]
        return [FailedEmbedding(name, digest, reason) for name in too_often]

    def _note(self, failures: Sequence[FailedEmbedding]) -> None:
        self._archive.note_failures(failures, self._clock.now())
        for failure in failures:
            log.warning("%s gets no vector of model %s: %s", failure.tracklet_id, failure.model_digest, failure.reason)
        metrics.REEMBEDDING_FAILURES.labels("tracklet").inc(len(failures))

    def _tell(self) -> None:
        """Progress as a log line and a metric, now and then."""
        wanted, now_s = self._targets.wanted(), self._clock.monotonic()
        if wanted is None or now_s < self._tell_at_s:
            return
        coverage = self._archive.coverage(wanted)
        metrics.MODEL_COVERAGE.set(coverage.share)
        if coverage.covered < coverage.expected:
            log.info(
                "re-embedding for model %s: %d of %d tracklets, %d cannot be embedded",
                wanted, coverage.covered, coverage.expected, coverage.failed,
            )  # fmt: skip
        # Counting looks at the whole archive, so a large one is counted less often.
        took_s = self._clock.monotonic() - now_s
        self._tell_at_s = now_s + max(self._config.tell_every_s, 50.0 * took_s)

    def _waiting(self, stream: StreamName, group: str) -> int:
        backlog = self._bus.backlog(stream, group)
        return backlog.waiting + backlog.pending


def _opened(rebuilt: Rebuilt) -> OpenedTracklet | InvalidMessage:
    """What can be decoded; crops that are lost or damaged are named in the log and counted."""
    opened: OpenedTracklet | InvalidMessage
    if rebuilt.tracklet is None:
        opened = InvalidMessage(f"no crop is left: {'; '.join(rebuilt.problems)}"[:400])
    else:
        try:
            opened = open_tracklet(rebuilt.tracklet)
        except InvalidMessage as error:
            opened = error
    problems = rebuilt.problems + (opened.problems if isinstance(opened, OpenedTracklet) else ())
    for problem in problems:
        log.warning("%s: %s", rebuilt.tracklet_id, problem)
    metrics.REEMBEDDING_FAILURES.labels("crop").inc(len(problems))
    return opened
