"""Models at work in one process: loaded beside one another in a thread, while those that are there go on working."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pipeline import metrics
from pipeline.interfaces import Clock

log = logging.getLogger(__name__)

RETRY_S = 60.0
_LONGEST_END_S = 6.0

Loaded = TypeVar("Loaded")


class ModelShelf(Generic[Loaded]):
    """Loaded models by digest. `ask_for` and `get` never wait; one model at a time is loaded.

    One that cannot be loaded is logged, counted and tried again after a minute: what is there goes on working.
    """

    def __init__(self, load: Callable[[str], Loaded], clock: Clock, service: str) -> None:
        self._load = load
        self._clock = clock
        self._service = service
        self._lock = threading.Lock()
        self._models: dict[str, Loaded] = {}
        self._failed_at_s: dict[str, float] = {}
        self._asked: tuple[str, ...] = ()
        self._thread: threading.Thread | None = None

    def get(self, digest: str) -> Loaded | None:
        """A model that is loaded."""
        with self._lock:
            return self._models.get(digest)

    def digests(self) -> tuple[str, ...]:
        """What is loaded, in the order in which it was asked for."""
        with self._lock:
            return tuple(digest for digest in self._asked if digest in self._models)

    def put(self, digest: str, model: Loaded) -> None:
        """Take in a model that was loaded elsewhere. It stays while it is asked for."""
        with self._lock:
            self._models[digest] = model
            if digest not in self._asked:
                self._asked = (*self._asked, digest)

    def ask_for(self, digests: Sequence[str]) -> None:
        """Begin to load what is missing, the first first, and let go of everything else."""
        with self._lock:
            self._asked = tuple(dict.fromkeys(digests))
            for digest in [digest for digest in self._models if digest not in self._asked]:
                del self._models[digest]
                log.info("%s lets go of model %s", self._service, digest)
            if self._thread is not None and self._thread.is_alive():
                return
            missing = self._next()
            if missing is not None:
                self._thread = threading.Thread(target=self._fetch, args=(missing,), name="model", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Wait a moment for a model that is being loaded: a process that ends in the middle of it may crash."""
        if self._thread is not None:
            self._thread.join(_LONGEST_END_S)

    def _next(self) -> str | None:
        now_s = self._clock.monotonic()
        for digest in self._asked:
            failed_at_s = self._failed_at_s.get(digest)
            if digest not in self._models and (failed_at_s is None or now_s - failed_at_s >= RETRY_S):
                return digest
        return None

    def _fetch(self, digest: str) -> None:
        started_s = self._clock.monotonic()
        try:
            model = self._load(digest)
        except Exception as error:
            # Loading fails in the ways of disks, formats and runtimes; whatever it is, it must not end the service.
            log.error("%s cannot load model %s and goes on without it: %s", self._service, digest, error)
            metrics.MODEL_LOAD_FAILURES.labels(self._service).inc()
            with self._lock:
                self._failed_at_s[digest] = self._clock.monotonic()
            return
        log.info("%s loaded model %s in %.1f s", self._service, digest, self._clock.monotonic() - started_s)
        with self._lock:
            self._failed_at_s.pop(digest, None)
            if digest in self._asked:
                self._models[digest] = model
