"""`sightline retain`: settings → database, blobs, bus and copies → the loop that forgets."""

from __future__ import annotations

import os
import threading

from pipeline.adapters.forgetter import Forgetter
from services.loop import keep_running
from services.nightly.copies import NightCopies
from services.runtime import StoppableClock, announce_ready, open_blobs, open_bus, open_store, service
from services.settings import Settings

_NICE = 15  # whatever else runs on this machine comes first


def run(settings: Settings) -> None:
    """Forget until a signal. Raises `ConfigurationError` before anything starts for a database or folder of no use."""
    with service("retain", settings) as stop:
        os.nice(_NICE)
        forgetter = open_forgetter(settings, stop)
        announce_ready()
        keep_running(forgetter.run_once, stop, "retain")


def run_once(settings: Settings) -> None:
    """Remove what is due now, and return."""
    open_forgetter(settings, threading.Event()).run_once()


def open_forgetter(settings: Settings, stop: threading.Event) -> Forgetter:
    return Forgetter(
        open_store(settings),
        open_blobs(settings),
        open_bus(settings),
        settings.keeping,
        NightCopies(settings.nights),
        StoppableClock(stop),
    )
