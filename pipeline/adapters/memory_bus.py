"""The bus in memory: the same promises as `RedisBus`, kept by one process, for tests and single-process use.

Messages are encoded on the way in and decoded on the way out, so that what could not travel fails here as well.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.adapters.bus_rules import (
    GROUPS,
    BusConfig,
    EntryId,
    GroupProgress,
    fields_of,
    first_kept,
    format_id,
    given_up_reason,
    gone_of,
    is_given_up,
    message_of,
    parse_id,
    parse_letter_id,
    read_letter,
    size_bytes,
    unread_kept,
    write_letter,
)
from pipeline.contracts import Message, StreamName, encode
from pipeline.errors import BusFull, InvalidMessage, Unavailable
from pipeline.interfaces import Backlog, DeadLetter, Delivery
from pipeline.metrics import DEAD_LETTERS

log = logging.getLogger(__name__)

Fields = dict[bytes, bytes]

_START: EntryId = (0, 0)


@dataclass(frozen=True, slots=True)
class _Pending:
    consumer: str
    handed_at: float  # monotonic
    delivered: int


@dataclass(slots=True)
class _Group:
    last_delivered: EntryId = _START
    pending: dict[EntryId, _Pending] = field(default_factory=dict)

    def progress(self) -> GroupProgress:
        return GroupProgress(self.last_delivered, min(self.pending, default=None))


@dataclass(slots=True)
class _Stream:
    entries: dict[EntryId, Fields] = field(default_factory=dict)  # in order
    groups: dict[str, _Group] = field(default_factory=dict)

    @property
    def used_bytes(self) -> int:
        return sum(map(size_bytes, self.entries.values()))

    def drop(self, entry_ids: Iterable[EntryId]) -> int:
        dropped = [self.entries.pop(entry_id) for entry_id in list(entry_ids)]
        return len(dropped)


@dataclass(slots=True)
class _Server:
    """What outlives the bus objects of one process, as a Redis server outlives its clients."""

    streams: dict[StreamName, _Stream] = field(default_factory=lambda: {name: _Stream() for name in StreamName})
    dead: dict[EntryId, Fields] = field(default_factory=dict)
    last_id: EntryId = _START
    is_away: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def append(self, entries: dict[EntryId, Fields], fields: Mapping[bytes, bytes], now: float) -> None:
        milliseconds = int(now * 1000)
        last = self.last_id
        self.last_id = (milliseconds, 0) if milliseconds > last[0] else (last[0], last[1] + 1)
        entries[self.last_id] = dict(fields)


class MemoryBus:
    """`Bus` without a server. Safe to share between threads."""

    def __init__(
        self,
        config: BusConfig | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config or BusConfig()
        self._now = now
        self._monotonic = monotonic
        self._server = _Server()
        self._own_from: dict[tuple[StreamName, str, str], EntryId | None] = {}

    def restarted(self, config: BusConfig | None = None) -> MemoryBus:
        """The same streams as a process sees them that has just started: its consumers begin with what they left."""
        other = MemoryBus(config or self._config, self._now, self._monotonic)
        other._server = self._server
        return other

    def go_away(self) -> None:
        """Every call raises `Unavailable` from now on, as with a server that is down."""
        self._server.is_away = True

    def come_back(self, *, is_empty: bool = False) -> None:
        """Answer again; `is_empty`: as a server that has lost all its data."""
        with self._server.changed:
            self._server.is_away = False
            if is_empty:
                self._server.streams = {name: _Stream() for name in StreamName}
                self._server.dead = {}

    def inject(self, stream: StreamName, fields: Mapping[bytes, bytes]) -> None:
        """Append an entry as it stands, readable or not."""
        with self._server.changed:
            self._server.append(self._server.streams[stream].entries, fields, self._now())
            self._server.changed.notify_all()

    # --- the Bus ------------------------------

    def publish(self, stream: StreamName, messages: Sequence[Message]) -> None:
        entries = [{name.encode(): value for name, value in fields_of(stream, each).items()} for each in messages]
        with self._server.changed:
            self._check_here()
            self._make_room(stream)
            for fields in entries:
                self._server.append(self._server.streams[stream].entries, fields, self._now())
            self._server.changed.notify_all()

    def consume(self, stream: StreamName, group: str, consumer: str, count: int, block_s: float) -> list[Delivery]:
        """See `Bus`. Messages that are handed out again come `redelivery_count` at a time."""
        deadline = self._monotonic() + block_s
        with self._server.changed:
            while True:
                self._check_here()
                if deliveries := self._read(stream, group, consumer, count):
                    return deliveries
                left_s = deadline - self._monotonic()
                if left_s <= 0 or not self._server.changed.wait(left_s):
                    return []

    def acknowledge(self, deliveries: Sequence[Delivery], group: str) -> None:
        with self._server.changed:
            self._check_here()
            for delivery in deliveries:
                pending = self._group(delivery.stream, group).pending
                pending.pop(parse_id(delivery.entry_id), None)

    def set_aside(self, delivery: Delivery, group: str, reason: str) -> None:
        fields = {name.encode(): value for name, value in encode(delivery.message).items()}
        with self._server.changed:
            self._check_here()
            self._bury(delivery.stream, group, parse_id(delivery.entry_id), reason, fields)

    def backlog(self, stream: StreamName, group: str) -> Backlog:
        with self._server.changed:
            self._check_here()
            known = self._server.streams[stream].groups.get(group, _Group())
            waiting = sum(entry_id > known.last_delivered for entry_id in self._server.streams[stream].entries)
            return Backlog(waiting, len(known.pending))

    def trim(self) -> int:
        with self._server.changed:
            self._check_here()
            return sum(self._trim(stream) for stream in StreamName)

    def discard(
        self, stream: StreamName, are_gone: Callable[[Sequence[Message]], Sequence[bool]], before_at: float = math.inf
    ) -> int:
        with self._server.changed:
            self._check_here()
            held = self._server.streams[stream]
            gone = gone_of(stream, _older(held.entries, before_at), are_gone)
            for group in held.groups.values():
                for entry_id in gone:
                    group.pending.pop(entry_id, None)
            letters = {
                entry_id: letter.fields
                for entry_id, fields in _older(self._server.dead, before_at).items()
                if (letter := read_letter(format_id(entry_id), fields)).stream is stream
            }
            dead = gone_of(stream, letters, are_gone)
            for entry_id in dead:
                del self._server.dead[entry_id]
            return held.drop(gone) + len(dead)

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        with self._server.changed:
            self._check_here()
            newest = sorted(self._server.dead, reverse=True)[:limit]
            return [read_letter(format_id(entry_id), self._server.dead[entry_id]) for entry_id in newest]

    def replay(self, entry_ids: Sequence[str]) -> int:
        """See `Bus`. A letter whose content was not kept stays dead."""
        with self._server.changed:
            self._check_here()
            replayed = sum(self._replay(entry_id) for entry_id in map(parse_letter_id, entry_ids))
            self._server.changed.notify_all()
            return replayed

    # --- under the lock ------------------------------

    def _check_here(self) -> None:
        if self._server.is_away:
            raise Unavailable("the bus in memory was told to be away; expected `come_back`")

    def _make_room(self, stream: StreamName) -> None:
        held = self._server.streams[stream]
        if held.used_bytes >= self._config.max_stream_bytes:
            self._trim(stream)
        if held.used_bytes >= self._config.max_stream_bytes:
            raise BusFull(
                f"{stream} holds {held.used_bytes} bytes; at most {self._config.max_stream_bytes} are allowed"
            )

    def _group(self, stream: StreamName, group: str) -> _Group:
        return self._server.streams[stream].groups.setdefault(group, _Group())

    def _read(self, stream: StreamName, group: str, consumer: str, count: int) -> list[Delivery]:
        return (
            self._own(stream, group, consumer)
            or self._abandoned(stream, group, consumer)
            or self._new(stream, group, consumer, count)
        )

    def _own(self, stream: StreamName, group: str, consumer: str) -> list[Delivery]:
        seat = (stream, group, consumer)
        while (start := self._own_from.get(seat, _START)) is not None:
            pending = self._group(stream, group).pending
            mine = sorted(id_ for id_, held in pending.items() if held.consumer == consumer and id_ > start)
            again = mine[: self._config.redelivery_count]
            self._own_from[seat] = again[-1] if again else None
            if deliveries := self._hand_out_again(stream, group, consumer, again):
                return deliveries
        return []

    def _abandoned(self, stream: StreamName, group: str, consumer: str) -> list[Delivery]:
        before = self._monotonic() - self._config.claim_idle_s
        while idle := sorted(
            id_ for id_, held in self._group(stream, group).pending.items() if held.handed_at <= before
        ):
            again = idle[: self._config.redelivery_count]
            if deliveries := self._hand_out_again(stream, group, consumer, again):
                return deliveries
        return []

    def _hand_out_again(
        self, stream: StreamName, group: str, consumer: str, entry_ids: Sequence[EntryId]
    ) -> list[Delivery]:
        pending = self._group(stream, group).pending
        deliveries: list[Delivery] = []
        for entry_id in entry_ids:
            held, fields = pending[entry_id], self._server.streams[stream].entries[entry_id]
            if is_given_up(held.delivered, self._config):
                self._bury(stream, group, entry_id, given_up_reason(held.delivered), fields)
                continue
            pending[entry_id] = replace(
                held, consumer=consumer, handed_at=self._monotonic(), delivered=held.delivered + 1
            )
            deliveries += self._deliver(stream, group, entry_id)
        return deliveries

    def _new(self, stream: StreamName, group: str, consumer: str, count: int) -> list[Delivery]:
        known = self._group(stream, group)
        fresh = [id_ for id_ in self._server.streams[stream].entries if id_ > known.last_delivered][:count]
        deliveries: list[Delivery] = []
        for entry_id in fresh:
            known.last_delivered = entry_id
            known.pending[entry_id] = _Pending(consumer, self._monotonic(), 1)
            deliveries += self._deliver(stream, group, entry_id)
        return deliveries

    def _deliver(self, stream: StreamName, group: str, entry_id: EntryId) -> list[Delivery]:
        fields = self._server.streams[stream].entries[entry_id]
        try:
            message = message_of(stream, fields)
        except InvalidMessage as error:
            self._bury(stream, group, entry_id, str(error), fields)
            return []
        return [Delivery(stream, format_id(entry_id), message, self._group(stream, group).pending[entry_id].delivered)]

    def _bury(
        self, stream: StreamName, group: str, entry_id: EntryId, reason: str, fields: Mapping[bytes, bytes]
    ) -> None:
        self._server.append(self._server.dead, write_letter(stream, group, reason, fields), self._now())
        self._group(stream, group).pending.pop(entry_id, None)
        DEAD_LETTERS.labels(stream.value, group).inc()
        log.warning("%s %s of group %s was set aside: %s", stream, format_id(entry_id), group, reason)
        while sum(map(size_bytes, self._server.dead.values())) > self._config.max_dead_bytes:
            self._server.dead.pop(min(self._server.dead))

    def _replay(self, entry_id: EntryId) -> int:
        fields = self._server.dead.get(entry_id)
        letter = read_letter(format_id(entry_id), fields) if fields else None
        if letter is None or not letter.fields:
            return 0
        self._make_room(letter.stream)
        self._server.append(self._server.streams[letter.stream].entries, letter.fields, self._now())
        del self._server.dead[entry_id]
        return 1

    def _trim(self, stream: StreamName) -> int:
        held = self._server.streams[stream]
        if not GROUPS[stream]:
            kept = unread_kept(len(held.entries), held.used_bytes, self._config)
            return held.drop(sorted(held.entries)[: len(held.entries) - kept])
        first = first_kept(GROUPS[stream], {name: group.progress() for name, group in held.groups.items()})
        return held.drop(entry_id for entry_id in held.entries if entry_id < first)


def _older(entries: Mapping[EntryId, Fields], before_at: float) -> dict[EntryId, Fields]:
    return {entry_id: fields for entry_id, fields in entries.items() if entry_id[0] < before_at * 1000}
