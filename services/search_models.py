"""With which model the search compares: the one that serves, loaded before it does, so that it takes over at once."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from pipeline import metrics
from pipeline.contracts import ServingModel
from pipeline.embedding.in_force import Pointer, in_force
from pipeline.errors import ConfigurationError, SightlineError
from pipeline.interfaces import Clock, Store
from pipeline.kept import ModelSwitch
from pipeline.search.models import SearchModel
from pipeline.search.people import SearchStore
from pipeline.search.text_calibration import FALSE_ANSWERS
from services.model_shelf import ModelShelf
from services.query import search_model
from services.site_models import SiteModels

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
_READY_EVERY_S = 5.0  # how fresh the vectors of a model are kept that does not serve


class SiteStore(Store, SearchStore, Protocol):
    """The database, as the search and its change of models read it."""


class SearchModels:
    """The model of the next question, the same for the whole question.

    The database says which model serves, and `keep_ready` asks it twice a second. Where that model is not loaded (yet),
    the last one goes on answering from its own vectors; questions never meet vectors of another model.
    """

    def __init__(
        self,
        site: SiteModels,
        store: SiteStore,
        clock: Clock,
        keep_previous_s: float,
        false_answers: float = FALSE_ANSWERS,
    ) -> None:
        """Loads one model. `false_answers` is the share that the settings allow.

        Raises `ConfigurationError` where neither the serving nor the wanted one can be loaded.
        """
        self._site = site
        self._store = store
        self._clock = clock
        self._keep_previous_s = keep_previous_s
        self._false_answers = false_answers
        self._shelf: ModelShelf[SearchModel] = ModelShelf(self._load, clock, "api")
        self._ready_at_s = float("-inf")
        self._answer_with(self._first())
        self._shelf.put(self._current.digest, self._current)

    def __call__(self) -> SearchModel:
        return self._current

    def keep_ready(self, stop: threading.Event) -> None:
        """Follow the serving model until `stop` is set."""
        while not stop.wait(LOOK_EVERY_S):
            try:
                self.follow()
            except SightlineError as error:
                log.warning("whether another model serves cannot be told; %s goes on: %s", self._current.digest, error)
            except Exception:
                # Whatever this is, questions must go on being answered, and the next model be awaited.
                log.exception("the search stays with model %s for the moment", self._current.digest)
        self._shelf.close()

    def follow(self) -> None:
        """One look: load what will be needed, and change over to what serves."""
        switches = self._store.model_switches(2)
        asked = in_force(_serving(switches), self._pointer(), self._clock.now(), self._keep_previous_s)
        # What answers now stays until another one can.
        self._shelf.ask_for([*asked, self._current.digest])
        serving = self._shelf.get(switches[0].model_digest) if switches else None
        if serving is not None and serving is not self._current:
            serving.make_ready()
            log.info("questions are answered with model %s, no more with %s", serving.digest, self._current.digest)
            self._answer_with(serving)
        self._current.listen(self._store)
        if self._clock.monotonic() >= self._ready_at_s:
            for digest in self._shelf.digests():
                model = self._shelf.get(digest)
                if model is not None:
                    model.make_ready()
            self._ready_at_s = self._clock.monotonic() + _READY_EVERY_S

    def _answer_with(self, model: SearchModel) -> None:
        metrics.MODEL_INFO.clear()
        metrics.MODEL_INFO.labels("answering", model.digest).set(1)
        self._current = model

    def _first(self) -> SearchModel:
        switches = self._store.model_switches(1)
        if switches:
            try:
                return self._load(switches[0].model_digest)
            except ConfigurationError as error:
                log.error("the serving model cannot be loaded; questions are answered with the wanted one: %s", error)
        return search_model(self._store, self._site.load_wanted(), self._false_answers)

    def _load(self, digest: str) -> SearchModel:
        model = search_model(self._store, self._site.load(digest), self._false_answers)
        model.make_ready()
        return model

    def _pointer(self) -> Pointer:
        try:
            return Pointer(self._site.wanted())
        except ConfigurationError as error:
            log.warning("what is wanted cannot be read: %s", error)
            return Pointer(None)


def _serving(switches: list[ModelSwitch]) -> ServingModel | None:
    if not switches:
        return None
    newest, previous = switches[0], switches[1].model_digest if len(switches) > 1 else None
    return ServingModel(digest=newest.model_digest, since_at=newest.switched_at, previous=previous)
