"""A site on some bus, and what tests of every bus say to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.adapters.bus_rules import BusConfig
from pipeline.contracts import (
    Message,
    StreamName,
    TrackletCrops,
)
from pipeline.interfaces import Bus, Delivery
from tests.fakes import crop, tracklet

CROPS = StreamName.CROPS


@dataclass(frozen=True)
class Place:
    """One site on one kind of bus."""

    connect: Callable[[BusConfig], Bus]  # as a process that has just started
    inject: Callable[[StreamName, dict[bytes, bytes]], None]
    forget: Callable[[], None]  # the server comes back empty


def seen(number: int, jpeg: bytes = b"jpeg") -> TrackletCrops:
    return tracklet(number, crop(jpeg))


def take(bus: Bus, group: str = "embedder", consumer: str = "one", count: int = 100) -> list[Delivery]:
    return bus.consume(CROPS, group, consumer, count, 0.0)


def take_all(bus: Bus, group: str = "embedder", consumer: str = "one") -> list[Delivery]:
    deliveries: list[Delivery] = []
    while some := take(bus, group, consumer):
        deliveries += some
    return deliveries


def numbers(deliveries: list[Delivery]) -> list[int]:
    return [number(delivery.message) for delivery in deliveries]


def number(message: Message) -> int:
    assert isinstance(message, TrackletCrops)
    return message.track_id
