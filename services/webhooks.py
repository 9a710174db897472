"""Webhooks of a site: what they are told of an alert, and the threads that tell them, one each."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from pipeline import metrics
from pipeline.adapters.delivery_book import DeliveryBook, DeliveryState, WebhookDelivery
from pipeline.adapters.standing_book import StandingBook, UnknownAlert
from pipeline.adapters.webhook import WebhookTarget, tell
from pipeline.errors import Unavailable
from pipeline.interfaces import Blobs, Clock
from pipeline.search.standing import Alert
from services.loop import keep_running
from services.settings import AlertSettings, WebhookSettings

log = logging.getLogger(__name__)

_AT_ONCE = 16
_IDLE_S = 1.0

Tell = Callable[[WebhookTarget, bytes, str, float], None]


def webhook_target(name: str, settings: WebhookSettings) -> WebhookTarget:
    return WebhookTarget(
        name,
        settings.address.get_secret_value(),
        settings.secret.get_secret_value().encode(),
        settings.allow_private,
    )


def alert_message(site: str, alert: Alert, picture: bytes | None) -> bytes:
    """What a webhook is told, as JSON; moments are UTC seconds. `picture` is a JPEG."""
    content: dict[str, Any] = {
        "version": 1,
        "kind": "alert",
        "site": site,
        "alert": {
            "number": alert.number,
            "query": {"number": alert.query_number, "name": alert.name, "question": alert.question},
            "global_id": alert.global_id,
            "camera_id": alert.camera_id,
            "tracklet_id": alert.tracklet_id,
            "started_at": alert.started_at,
            "ended_at": alert.ended_at,
            "raised_at": alert.raised_at,
            "confidence": round(alert.confidence, 4),
        },
    }
    if picture is not None:
        content["alert"]["picture"] = {"type": "image/jpeg", "base64": base64.b64encode(picture).decode()}
    return json.dumps(content).encode()


def trial_message(site: str) -> bytes:
    """What `sightline alerts webhooks test` sends."""
    return json.dumps({"version": 1, "kind": "test", "site": site}).encode()


class Teller:
    """Tells one webhook what is due. Each has one of its own, so that none waits for another."""

    def __init__(
        self,
        site: str,
        target: WebhookTarget,
        deliveries: DeliveryBook,
        alerts: StandingBook,
        blobs: Blobs | None,
        clock: Clock,
        tell: Tell = tell,
    ) -> None:
        """`blobs` is given where each message carries a picture."""
        self._site = site
        self._target = target
        self._deliveries = deliveries
        self._alerts = alerts
        self._blobs = blobs
        self._clock = clock
        self._tell = tell

    def run_once(self) -> int:
        """Tell what is due, and note how it went; returns the number of attempts."""
        due = self._deliveries.due(self._target.name, self._clock.now(), _AT_ONCE)
        for delivery in due:
            self._attempt(delivery)
        return len(due)

    def _attempt(self, delivery: WebhookDelivery) -> None:
        try:
            body = self._message(delivery)
        except UnknownAlert:
            return  # erased or removed a moment ago, and the delivery with it
        problem: str | None = None
        try:
            self._tell(self._target, body, delivery.id, self._clock.now())
        except Unavailable as error:
            problem = str(error)
        state = self._deliveries.note(delivery, self._clock.now(), problem)
        if state is DeliveryState.DEAD:
            log.error("delivery %s is given up, see `sightline alerts webhooks`: %s", delivery.id, problem)
        elif problem is not None:
            log.warning("delivery %s is tried again: %s", delivery.id, problem)
        outcome = "failed" if state is DeliveryState.WAITING else state.value
        metrics.WEBHOOK_ATTEMPTS.labels(self._target.name, outcome).inc()

    def _message(self, delivery: WebhookDelivery) -> bytes:
        alert = self._alerts.alert(delivery.alert_number)
        picture = None
        if self._blobs is not None and alert.crop_keys:
            picture = self._blobs.get(alert.crop_keys[0])
        return alert_message(self._site, alert, picture)


def start_tellers(
    site: str,
    settings: AlertSettings,
    deliveries: DeliveryBook,
    alerts: StandingBook,
    blobs: Blobs,
    clock: Clock,
    stop: threading.Event,
) -> list[threading.Thread]:
    """A thread for each webhook, at work until `stop` is set."""
    threads = []
    for name, chosen in settings.webhooks.items():
        pictures = blobs if chosen.pictures else None
        teller = Teller(site, webhook_target(name, chosen), deliveries, alerts, pictures, clock)
        work = (_step(teller, stop), stop, f"webhook {name}")
        # A daemon: an address that answers slowly must not hold up the end.
        threads.append(threading.Thread(target=keep_running, args=work, name=f"webhook-{name}", daemon=True))
        threads[-1].start()
    return threads


def _step(teller: Teller, stop: threading.Event) -> Callable[[], None]:
    def step() -> None:
        if teller.run_once() == 0:
            stop.wait(_IDLE_S)

    return step
