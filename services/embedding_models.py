"""The models with which the embedder works: loaded beside one another, changed between two batches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.contracts import LoadedModels, ServingModel
from pipeline.embedding.in_force import Pointer, in_force
from pipeline.errors import ConfigurationError, SightlineError
from pipeline.interfaces import Clock, Encoder, ModelBoard
from services.model_shelf import ModelShelf
from services.site_models import SiteModels

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddingModelsConfig:
    embedder: str
    keep_previous_s: float
    look_every_s: float = 1.0
    report_every_s: float = 5.0


class EmbeddingModels:
    """The encoders in force, the serving one first; asked before each batch, it looks about once a second.

    Where board or registry do not answer, what was known last counts. An encoder is reported to the matcher only while
    it `works`, so that no model serves of which there are no vectors.
    """

    def __init__(self, site: SiteModels, board: ModelBoard, clock: Clock, config: EmbeddingModelsConfig) -> None:
        """Loads one model. Raises `ConfigurationError` where none can be loaded."""
        self._site = site
        self._board = board
        self._clock = clock
        self._config = config
        self._shelf: ModelShelf[Encoder] = ModelShelf(site.load, clock, "embedder")
        self._serving: ServingModel | None = None
        self._pointer = Pointer(None)
        self._look_at_s = self._report_at_s = float("-inf")
        self._reported: tuple[str, ...] = ()
        self._failing: set[str] = set()
        self._load_first()

    def __call__(self) -> Sequence[Encoder]:
        if self._clock.monotonic() >= self._look_at_s:
            self._look_at_s = self._clock.monotonic() + self._config.look_every_s
            self._look()
        found = (self._shelf.get(digest) for digest in self._shelf.digests())
        return [encoder for encoder in found if encoder is not None]

    def works(self, encoder: Encoder, is_working: bool) -> None:
        """Whether an encoder gave vectors of the last batch."""
        (self._failing.discard if is_working else self._failing.add)(encoder.digest)

    def close(self) -> None:
        self._shelf.close()

    def _load_first(self) -> None:
        """The serving model, or if that is unknown or gone, another one in force."""
        problems: list[ConfigurationError] = []
        for digest in self._asked():
            try:
                self._shelf.put(digest, self._site.load(digest))
            except ConfigurationError as error:
                log.error("model %s cannot be loaded: %s", digest, error)
                problems.append(error)
            else:
                return
        if problems:
            raise problems[0]
        encoder = self._site.load_wanted()
        self._shelf.put(encoder.digest, encoder)

    def _look(self) -> None:
        self._shelf.ask_for(self._asked() or self._shelf.digests())
        loaded = tuple(digest for digest in self._shelf.digests() if digest not in self._failing)
        now_s = self._clock.monotonic()
        if loaded == self._reported and now_s < self._report_at_s:
            return
        try:
            self._board.report(
                LoadedModels(
                    embedder=self._config.embedder,
                    wanted=self._pointer.wanted,
                    digests=loaded,
                    reported_at=self._clock.now(),
                )
            )
            self._reported, self._report_at_s = loaded, now_s + self._config.report_every_s
        except SightlineError as error:
            log.debug("the matcher is not told what is loaded: %s", error)

    def _asked(self) -> tuple[str, ...]:
        try:
            self._serving = self._board.serving() or self._serving
        except SightlineError as error:
            log.debug("which model serves cannot be asked: %s", error)
        try:
            self._pointer = Pointer(self._site.wanted(), self._site.wanted_before())
        except ConfigurationError as error:
            log.warning("what is wanted cannot be read; it stays %s: %s", self._pointer.wanted, error)
        return in_force(self._serving, self._pointer, self._clock.now(), self._config.keep_previous_s)
