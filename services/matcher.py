"""`sightline match`: settings → bus, database and gallery → the matcher's loop."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.adapters.bus_rules import GROUPS, BusConfig
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.faiss_gallery import open_gallery
from pipeline.interfaces import Bus, Clock, Gallery, Store
from pipeline.matching.assignment import AssignmentConfig
from pipeline.matching.people import MemoryConfig
from pipeline.matching.worker import MatcherConfig, MatcherWorker
from services.loop import keep_running
from services.runtime import announce_ready, open_bus, open_store, service, serving_manifest
from services.settings import MatchingSettings, Settings

if TYPE_CHECKING:
    from reid_models.manifest import Manifest

_HOUSEKEEPING_EVERY_S = 5.0


def run(settings: Settings) -> None:
    """Match until a signal. Raises `ConfigurationError` before anything starts for a database or model of no use."""
    with service("matcher", settings) as stop:
        manifest = serving_manifest(settings)
        config = MatcherConfig(
            batch_tracklets=settings.matching.batch_tracklets,
            model_digest=manifest.digest if manifest else None,
            memory=MemoryConfig(top_k=settings.matching.top_k, assignment=assignment(settings.matching, manifest)),
        )
        bus, store = open_bus(settings, bus_config(config)), open_store(settings)
        gallery = functools.partial(open_gallery, settings.matching.gallery)
        announce_ready()
        serve(bus, store, gallery, SystemClock(), config, stop)


def bus_config(config: MatcherConfig) -> BusConfig:
    """How the matcher gets back what it had in hand when it died: the whole micro-batch at once.

    A batch is solved jointly, so its tracklets one by one could come to other identities. A death says little about
    the batch, hence the patience: a tracklet that breaks the matcher is found and set aside without any death.
    """
    return BusConfig(redelivery_count=config.batch_tracklets, max_deliveries=50)


def assignment(chosen: MatchingSettings, manifest: Manifest | None) -> AssignmentConfig:
    """How sure is sure enough: as set, else as measured when the model was validated."""
    if manifest is None or manifest.calibration is None:
        usual = AssignmentConfig()
        return usual if chosen.threshold is None else replace(usual, threshold=chosen.threshold)
    curve = manifest.calibration.appearance
    threshold = manifest.calibration.appearance_threshold if chosen.threshold is None else chosen.threshold
    return AssignmentConfig(threshold=threshold, midpoint=-curve.intercept / curve.slope, slope=curve.slope)


def serve(
    bus: Bus,
    store: Store,
    open_gallery: Callable[[int], Gallery],
    clock: Clock,
    config: MatcherConfig,
    stop: threading.Event,
) -> None:
    """Match until `stop` is set."""
    worker = MatcherWorker(bus, store, open_gallery, clock, config)
    due_s = clock.monotonic()

    def step() -> None:
        nonlocal due_s
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
            bus.backlog(stream, group)
