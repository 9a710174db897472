"""`sightline match`: settings → bus, database and gallery → the matcher's loop."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline import metrics
from pipeline.adapters.bus_rules import GROUPS, BusConfig, observe_backlog
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.lease import Lease
from pipeline.adapters.process_mark import process_mark
from pipeline.contracts import LoadedModels, ServingModel
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.gallery import Gallery
from pipeline.interfaces import Bus, Clock, ModelBoard, Store
from pipeline.matching.looks import LookPrior
from pipeline.matching.models import Models
from pipeline.matching.people import MemoryConfig
from pipeline.matching.worker import MatcherConfig, MatcherWorker
from services.loop import keep_running
from services.runtime import announce_ready, gallery_opener, open_bus, open_model_board, open_store, service
from services.settings import Settings
from services.site_models import SiteModels, wanted_digest

if TYPE_CHECKING:
    from reid_models.manifest import Manifest

log = logging.getLogger(__name__)

_HOUSEKEEPING_EVERY_S = 5.0
_SILENT_AFTER_S = 12.0  # an embedder reports every five seconds


def run(settings: Settings) -> None:
    """Match until a signal. Raises `ConfigurationError` before anything starts for a database or model of no use."""
    with service("matcher", settings) as stop:
        use_one_thread()
        site, clock = SiteModels(settings), SystemClock()
        site.wanted()  # raises while the operator is still looking
        site.keep_shipped(clock.now())
        chosen = settings.matching
        config = MatcherConfig(
            batch_tracklets=chosen.batch_tracklets,
            walks_s={walk.between: walk.seconds for walk in chosen.walks},
            memory=MemoryConfig(false_match_budget=chosen.false_match_budget, top_k=chosen.top_k),
        )
        models = MatcherModels(site, open_model_board(settings), clock)
        bus, lease = open_bus(settings, bus_config(config)), open_lease(settings)
        store = open_store(settings, lease.check)
        gallery = gallery_opener(settings)
        announce_ready()
        with lease:
            serve(bus, store, gallery, clock, config, stop, models, lease)


def use_one_thread() -> None:
    """The matcher's products are small: more threads would spin beside the first one and take processors from others.

    On two busy processors a tracklet cost 1.7 times the processor time with two threads. Torch, which only a large
    gallery loads, reads the variable then.
    """
    threadpool_limits(limits=1, user_api="blas")
    os.environ["OMP_NUM_THREADS"] = "1"


class MatcherModels:
    """`Models` of a running site: what is wanted stands in settings and registry, what is loaded on the board.

    A registry that cannot be read, or a board that is away, leaves everything as it is.
    """

    def __init__(self, site: SiteModels, board: ModelBoard, clock: Clock) -> None:
        self._site = site
        self._board = board
        self._clock = clock
        self._shown: tuple[str, str | None] | None = None

    def wanted(self) -> str | None:
        try:
            return wanted_digest(self._site, self._board)
        except (ConfigurationError, Unavailable) as error:
            log.warning("no other model can be wanted for the moment: %s", error)
            return None

    def has_known(self, digest: str) -> bool:
        try:
            return self._site.has_known(digest) or any(digest == each.wanted for each in self._board.reports())
        except ConfigurationError as error:
            # Rather later than set aside: the message stays in hand until the registry can be read again.
            raise Unavailable(f"whether model {digest} is known cannot be told: {error}") from error

    def is_ready(self, digest: str) -> bool:
        try:
            return have_loaded(self._board.reports(), digest, self._clock.now())
        except Unavailable:
            return False

    def prior(self, digest: str) -> LookPrior:
        return prior_of(self._site.manifest(digest))

    def announce(self, serving: ServingModel) -> None:
        self._show(serving.digest)
        try:
            self._board.announce(serving)
        except Unavailable as error:
            log.warning("the embedders are not told which model serves: %s", error)

    def _show(self, serving: str) -> None:
        wanted = self.wanted()
        if self._shown != (serving, wanted):
            self._shown = (serving, wanted)
            metrics.MODEL_INFO.clear()
            metrics.MODEL_INFO.labels("serving", serving).set(1)
            if wanted is not None:
                metrics.MODEL_INFO.labels("wanted", wanted).set(1)


def have_loaded(reports: Sequence[LoadedModels], digest: str, now: float) -> bool:
    """Whether every embedder gives vectors of a model.

    One that has been silent for a moment, but is not forgotten yet, is perhaps being started again, and what it will
    load then is not known: it is waited for.
    """
    return all(digest in report.digests and now - report.reported_at <= _SILENT_AFTER_S for report in reports)


def bus_config(config: MatcherConfig) -> BusConfig:
    """How the matcher gets back what it had in hand when it died: the whole micro-batch at once.

    A batch is solved jointly, so its tracklets one by one could come to other identities. A death says little about
    the batch, hence the patience: a tracklet that breaks the matcher is found and set aside without any death.
    """
    return BusConfig(redelivery_count=config.batch_tracklets, max_deliveries=50)


def prior_of(manifest: Manifest | None) -> LookPrior:
    """What similarities told when the model was validated."""
    if manifest is None or manifest.calibration is None:
        return LookPrior()
    measured, curve = manifest.calibration.strangers, manifest.calibration.appearance
    if measured is None:
        return LookPrior.of_curve(-curve.intercept / curve.slope, curve.slope)
    return LookPrior(measured.mean, measured.deviation, np.array(measured.curves))


def open_lease(settings: Settings) -> Lease:
    """The right to decide for this site's database, which only one process has at a time."""
    holder = f"the matcher of site {settings.site} on {socket.gethostname()} (process {os.getpid()})"
    return Lease(settings.database, holder, process_mark(os.getpid()))


def serve(
    bus: Bus,
    store: Store,
    open_gallery: Callable[[int], Gallery],
    clock: Clock,
    config: MatcherConfig,
    stop: threading.Event,
    models: Models,
    lease: Lease,
) -> None:
    """Match until `stop` is set, and only while `lease` is held; `store` must be fenced by it."""
    worker = MatcherWorker(bus, store, open_gallery, clock, config, models)
    due_s = clock.monotonic()

    def step() -> None:
        nonlocal due_s
        if lease.hold():
            worker.forget()
        worker.run_once()
        if clock.monotonic() >= due_s:
            due_s = clock.monotonic() + _HOUSEKEEPING_EVERY_S
            keep_house(bus)

    keep_running(step, stop, "matcher")


def keep_house(bus: Bus) -> None:
    """Drop from the streams what every group has acknowledged, and measure how far each group is behind.

    The matcher does it for the whole site because there is one of it.
    """
    bus.trim()
    for stream, groups in GROUPS.items():
        for group in groups:
            observe_backlog(stream, group, bus.backlog(stream, group))
