"""What webhooks have still to be told, in the database: written with the alert, tried again, and at last set aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select, update

from pipeline.adapters.database import Database
from pipeline.adapters.schema import webhook_deliveries

ATTEMPTS = 8
_FIRST_PAUSE_S = 5.0
_GROWTH = 4.0  # 5 s, 20 s, 80 s … the last pause is 5.7 hours


class DeliveryState(StrEnum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"  # given up; can be replayed


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """What one webhook is told of one alert."""

    alert_number: int
    webhook: str
    state: DeliveryState
    attempts: int
    due_at: float  # when it is tried next, or was done with
    problem: str  # of the last attempt

    @property
    def id(self) -> str:
        """Stays the same from attempt to attempt, so that a receiver knows what it has had already."""
        return f"{self.alert_number}-{self.webhook}"


def pause_s(attempts: int) -> float | None:
    """How long to wait after so many attempts have failed; None: give up."""
    return _FIRST_PAUSE_S * _GROWTH ** (attempts - 1) if attempts < ATTEMPTS else None


class DeliveryBook:
    """Deliveries by webhook. At least once: who dies between telling and noting tells again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, webhook: str, now: float, limit: int) -> list[WebhookDelivery]:
        """What this webhook is to be told now, the oldest alert first."""
        is_due = and_(
            webhook_deliveries.c.webhook == webhook,
            webhook_deliveries.c.state == DeliveryState.WAITING.value,
            webhook_deliveries.c.due_at <= now,
        )
        return self._deliveries(is_due, limit)

    def note(self, delivery: WebhookDelivery, now: float, problem: str | None) -> DeliveryState:
        """Write how an attempt ended, and return what becomes of the delivery."""
        attempts = delivery.attempts + 1
        pause = pause_s(attempts)
        state = DeliveryState.WAITING if pause is not None else DeliveryState.DEAD
        if problem is None:
            state = DeliveryState.DELIVERED
        values = {
            "state": state.value,
            "attempts": attempts,
            "due_at": now + (pause or 0.0 if state is DeliveryState.WAITING else 0.0),
            "problem": (problem or "")[:400],
        }
        is_it = and_(
            webhook_deliveries.c.alert_number == delivery.alert_number,
            webhook_deliveries.c.webhook == delivery.webhook,
        )
        with self._database.writing() as connection:
            connection.execute(update(webhook_deliveries).where(is_it).values(values))
        return state

    def dead(self, limit: int) -> list[WebhookDelivery]:
        """Those given up, the oldest alert first."""
        return self._deliveries(webhook_deliveries.c.state == DeliveryState.DEAD.value, limit)

    def replay(self, alert_numbers: Sequence[int], now: float) -> int:
        """Try those given up again, of these alerts or, without any, of all. Returns how many."""
        again = webhook_deliveries.c.state == DeliveryState.DEAD.value
        if alert_numbers:
            again = and_(again, webhook_deliveries.c.alert_number.in_(list(alert_numbers)))
        values = {"state": DeliveryState.WAITING.value, "attempts": 0, "due_at": now}
        with self._database.writing() as connection:
            return connection.execute(update(webhook_deliveries).where(again).values(values)).rowcount

    def counts(self) -> dict[tuple[str, DeliveryState], int]:
        """How many there are of each webhook and state."""
        group = (webhook_deliveries.c.webhook, webhook_deliveries.c.state)
        with self._database.reading() as connection:
            rows = connection.execute(select(*group, func.count()).group_by(*group)).all()
        return {(webhook, DeliveryState(state)): count for webhook, state, count in rows}

    def _deliveries(self, condition: ColumnElement[bool], limit: int) -> list[WebhookDelivery]:
        query = select(webhook_deliveries).where(condition)
        query = query.order_by(webhook_deliveries.c.alert_number, webhook_deliveries.c.webhook).limit(limit)
        with self._database.reading() as connection:
            return [_delivery(row) for row in connection.execute(query)]


def _delivery(row: Any) -> WebhookDelivery:
    return WebhookDelivery(
        row.alert_number, row.webhook, DeliveryState(row.state), row.attempts, row.due_at, row.problem
    )
