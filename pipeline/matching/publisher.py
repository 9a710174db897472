"""Identity events on their way out: each is published before it is marked, in the order of their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline import metrics
from pipeline.contracts import IdentityEvent, IdentityEventKind, StreamName
from pipeline.interfaces import Bus, Clock, Store

_PAGE_EVENTS = 512


class Publisher:
    """Publishes what the database holds and nobody was told. After a crash the same events come with the same
    numbers."""

    def __init__(self, bus: Bus, store: Store, clock: Clock) -> None:
        self._bus = bus
        self._store = store
        self._clock = clock
        self._last: int | None = None  # the last event that surely went out; None: only the database knows

    def publish(self, committed: Sequence[IdentityEvent] = ()) -> None:
        """`committed` are the newest events: where everything before them went out, nothing is read back."""
        if committed and self._last == committed[-1].event_id - len(committed):
            self._send(committed)
            return
        is_more = True
        while is_more and (events := self._store.unpublished_events(_PAGE_EVENTS)):
            is_more = len(events) == _PAGE_EVENTS
            self._send(events)

    def _send(self, events: Sequence[IdentityEvent]) -> None:
        self._bus.publish(StreamName.IDENTITIES, events)
        self._store.mark_published(events[-1].event_id)
        self._last = events[-1].event_id
        now = self._clock.now()
        for event in events:
            if event.kind is not IdentityEventKind.ASSIGNED:
                metrics.IDENTITY_REVISIONS.labels(event.kind.value).inc()
            if event.ended_at is not None:
                metrics.CAPTURE_TO_IDENTITY.observe(max(0.0, now - event.ended_at))
