"""The way out of a process that must not lose a message and must not wait: to the bus, or to disk until it is back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import msgpack

from pipeline.adapters.bus_rules import fields_of, message_of
from pipeline.adapters.spool import Spool
from pipeline.contracts import Message, StreamName
from pipeline.errors import ConfigurationError, InvalidMessage, SightlineError, Unavailable
from pipeline.interfaces import Bus

log = logging.getLogger(__name__)

BATCH = 32  # messages sent at once from the spool
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


class Outbox:
    """Sends the messages of one stream in order, by way of the spool while the bus is away or full.

    While the bus is away it is tried again only after a pause that grows, because each attempt may take seconds.
    """

    def __init__(
        self, bus: Bus, spool: Spool, stream: StreamName, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._bus = bus
        self._spool = spool
        self._stream = stream
        self._monotonic = monotonic
        self._held: list[Message] = []  # neither the bus nor the disk took them
        self._pause_s = 0.0  # 0: the bus took the last message
        self._retry_at = float("-inf")

    @property
    def is_blocked(self) -> bool:
        """The disk's budget is used up or the disk refuses: drop frames now. `send` keeps what comes all the same."""
        return bool(self._held) or self._spool.is_full

    def send(self, messages: Sequence[Message]) -> None:
        """Never raises for a bus or a disk in trouble. A message that no reader could accept is logged and left out."""
        sendable = [message for message in messages if self._is_sendable(message)]
        if not sendable:
            return
        if not self._held and not self._spool.size_bytes and self._publish(sendable):
            return
        self._held += sendable
        self._store()

    def pump(self) -> int:
        """Send what waits, as far as the bus takes it. Call it often. Returns the number of messages sent."""
        self._store()
        sent = 0
        try:
            while payloads := self._waiting():
                messages = self._messages(payloads)
                if messages and not self._publish(messages):
                    return sent
                sent += len(messages)
                self._spool.take(len(payloads))
        except Unavailable as error:
            self._pause(error)
            return sent
        if self._held and self._publish(self._held):
            sent += len(self._held)
            self._held = []
        if sent:
            log.info("%d messages that had to wait were sent to %s", sent, self._stream)
        return sent

    def close(self) -> None:
        """What still waits stays on disk for the next process."""
        self._store()
        if self._held:
            log.error("%d messages are lost: neither the bus nor the disk takes them", len(self._held))
        self._spool.close()

    def _waiting(self) -> list[bytes]:
        return self._spool.peek(BATCH) if self._monotonic() >= self._retry_at else []

    def _publish(self, messages: Sequence[Message]) -> bool:
        if self._monotonic() < self._retry_at:
            return False
        try:
            self._bus.publish(self._stream, messages)
        except (Unavailable, ConfigurationError) as error:
            # A refused password is no reason to lose what was seen: the operator may mend it while we wait.
            self._pause(error)
            return False
        self._pause_s = 0.0
        return True

    def _pause(self, error: SightlineError) -> None:
        if not self._pause_s:
            log.warning("messages for %s wait on disk: %s", self._stream, error)
        self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self._retry_at = self._monotonic() + self._pause_s

    def _store(self) -> None:
        if not self._held:
            return
        try:
            self._spool.append([self._payload(message) for message in self._held])
        except Unavailable as error:
            log.error("%d messages are held in memory: %s", len(self._held), error)
            return
        self._held = []

    def _payload(self, message: Message) -> bytes:
        packed: bytes = msgpack.packb(fields_of(self._stream, message))
        return packed

    def _messages(self, payloads: Sequence[bytes]) -> list[Message]:
        messages = []
        for payload in payloads:
            try:
                fields = {name.encode(): value for name, value in msgpack.unpackb(payload).items()}
                messages.append(message_of(self._stream, fields))
            except (InvalidMessage, ValueError, AttributeError) as error:
                log.error("a spooled message cannot be read and its segment is kept: %s", error)
                self._spool.keep_segment()
        return messages

    def _is_sendable(self, message: Message) -> bool:
        try:
            fields_of(self._stream, message)
        except InvalidMessage as error:
            log.error("a message was left out: %s", error)
            return False
        return True
