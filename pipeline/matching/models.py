"""Which model the matcher compares with, and how it changes: between two batches, once the archive is ready for it."""

from __future__ import annotations

import logging
from typing import Protocol

from pipeline.contracts import ServingModel, TrackletEmbedding
from pipeline.interfaces import Clock, Store
from pipeline.kept import ModelSwitch
from pipeline.matching.looks import LookPrior

log = logging.getLogger(__name__)

_CALM = 20.0  # looking takes at most one part in so many of the matcher's time
_ALL = 10_000


class Models(Protocol):
    """What the operator wants, and what others have loaded: registry and board in production, set answers in
    tests."""

    def wanted(self) -> str | None:
        """The digest of the model that shall serve; None while it is not known."""

    def has_known(self, digest: str) -> bool:
        """Whether a model is wanted, or was at some time."""

    def is_ready(self, digest: str) -> bool:
        """Whether every embedder at work gives vectors of a model: only then may it serve."""

    def prior(self, digest: str) -> LookPrior:
        """What similarities of a model's vectors tell before the site has taught better."""

    def announce(self, serving: ServingModel) -> None:
        """Tell the embedders which model serves. Never raises for a board that is away."""


class ServingChoice:
    """Which model serves, as the database says; only `follow` changes it."""

    def __init__(self, store: Store, models: Models, clock: Clock, look_every_s: float) -> None:
        self._store = store
        self._models = models
        self._clock = clock
        self._look_every_s = look_every_s
        self._look_at_s = float("-inf")
        self._switch: ModelSwitch | None = None
        self._previous: str | None = None
        self._known: set[str] = set()

    @property
    def digest(self) -> str | None:
        """The serving model; None before the first one is known."""
        return self._switch.model_digest if self._switch else None

    def forget(self) -> None:
        """Read the database again: what was written last is not certain."""
        self._switch = None
        self._look_at_s = float("-inf")

    def is_due(self) -> bool:
        """Whether it is time to `follow`: every few seconds, less often where the archive is large."""
        return self._clock.monotonic() >= self._look_at_s

    def follow(self) -> bool:
        """Let the wanted model serve if it can; whether the serving model is another one now.

        Raises `Unavailable` while the database does not answer.
        """
        before, started_s = self.digest, self._clock.monotonic()
        self._begin(None)
        if self._switch is not None:
            serving = self._change(self._switch)
            self._models.announce(
                ServingModel(digest=serving.model_digest, since_at=serving.switched_at, previous=self._previous)
            )
        ended_s = self._clock.monotonic()
        self._look_at_s = ended_s + max(self._look_every_s, _CALM * (ended_s - started_s))
        return self.digest != before

    def begin_with(self, seen: TrackletEmbedding) -> None:
        """Where nothing serves and nothing is wanted, the model of the first vector does."""
        self._begin(seen.model_digest)

    def has_known(self, digest: str) -> bool:
        """Whether vectors of a model are worth keeping: it is wanted, was wanted, or has served."""
        if digest not in self._known and self._models.has_known(digest):
            self._known.add(digest)
        return digest in self._known

    def _read(self) -> None:
        switches = self._store.model_switches(_ALL)
        self._known |= {switch.model_digest for switch in switches}
        if switches:
            self._switch = switches[0]
            self._previous = switches[1].model_digest if len(switches) > 1 else None

    def _begin(self, otherwise: str | None) -> None:
        """Know what serves. Where nothing does yet, it is the model of the vectors that are there, else the wanted one,
        else `otherwise`."""
        if self._switch is None:
            self._read()
        if self._switch is None:
            first = self._store.newest_vector_digest() or self._models.wanted() or otherwise
            if first is not None:
                self._store.switch_model(first, 0, self._clock.now(), "the first model of this database")
                self._read()
                log.info("model %s serves", self.digest)

    def _change(self, serving: ModelSwitch) -> ModelSwitch:
        """The wanted model takes over if it can; returns what serves then."""
        wanted = self._models.wanted()
        if wanted is None or wanted == serving.model_digest or not self._models.is_ready(wanted):
            return serving
        reason = f"wanted instead of {serving.model_digest}, and the archive has its vectors"
        if self._store.switch_model(wanted, serving.number, self._clock.now(), reason) is not None:
            log.info("model %s serves from now on, instead of %s", wanted, serving.model_digest)
        self._read()  # also where nothing was written: perhaps because somebody else has switched
        return self._switch or serving
