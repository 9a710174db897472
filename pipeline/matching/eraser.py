"""Erasures, applied between two batches by the only writer of identities."""

from __future__ import annotations

import logging

from pipeline.errors import SightlineError
from pipeline.interfaces import Clock, Store

log = logging.getLogger(__name__)


def apply_erasures(store: Store, clock: Clock, marks_kept_s: float) -> bool:
    """Let the database forget whoever waits for it, each in one transaction; returns whether it forgot anybody.

    For `marks_kept_s` nothing that comes late of the erased tracks is written.
    """
    has_forgotten = False
    for request in store.pending_erasures():
        try:
            has_forgotten |= bool(store.erase(request.number, clock.now(), clock.now() + marks_kept_s))
            log.info("erasure %d: the database has forgotten the person", request.number)
        except SightlineError:
            raise
        except Exception:
            # One that trips over a bug must not stop the matcher for ever. It stays open, and the metric shows that.
            log.exception("erasure %d cannot be applied", request.number)
    return has_forgotten
