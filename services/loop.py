"""The loop of a service: step after step until asked to stop, whatever happens outside."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pipeline import metrics
from pipeline.errors import ConfigurationError, Unavailable

log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0


def keep_running(
    step: Callable[[], object], stop: threading.Event, service: str, first_pause_s: float = _FIRST_PAUSE_S
) -> None:
    """Call `step` until `stop` is set. An error costs a pause that doubles up to ten seconds, never the loop.

    Only `ConfigurationError` leaves: nothing but the operator can mend it.
    """
    pause_s = first_pause_s
    while not stop.is_set():
        try:
            step()
        except ConfigurationError:
            raise
        except Unavailable as error:
            log.warning("%s waits %.1f s: %s", service, pause_s, error)
            _count(service, error)
        except Exception as error:
            # An unforeseen error is logged in full and tried again: a service that dies helps nobody, and messages
            # that cause it are set aside by the worker after a few attempts.
            log.exception("%s stumbled and tries again in %.1f s", service, pause_s)
            _count(service, error)
        else:
            pause_s = first_pause_s
            continue
        stop.wait(pause_s)
        pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S)


def _count(service: str, error: Exception) -> None:
    metrics.SERVICE_ERRORS.labels(service, type(error).__name__).inc()
