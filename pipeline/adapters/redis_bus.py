"""The bus on Redis Streams: Redis 7 or later, or Valkey, alone or in a cluster. At least once; what the server
forgets, it makes anew.

One stream per kind of message and site, one consumer group per kind of reader. The site in braces in every key keeps a
site on one node of a cluster.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import redis

from pipeline.adapters.bus_rules import (
    GROUPS,
    BusConfig,
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
    size_bytes,
    unread_kept,
)
from pipeline.adapters.redis_connection import RedisConnection
from pipeline.adapters.redis_dead_letters import RedisDeadLetters, pages
from pipeline.contracts import NAME_PATTERN, Message, StreamName, encode
from pipeline.errors import BusFull, ConfigurationError, InvalidMessage, Unavailable
from pipeline.interfaces import Backlog, DeadLetter, Delivery

__all__ = ["BusConfig", "RedisBus"]

log = logging.getLogger(__name__)

_MEASURED_NODES = 64  # of a stream, to estimate its size
_SHARE_BETWEEN_MEASUREMENTS = 16  # so many publishers together stay within the budget

_Entries = Sequence[tuple[bytes, dict[bytes, bytes]]]


@dataclass(frozen=True, slots=True)
class _Seat:
    """One consumer of one group."""

    stream: StreamName
    key: str
    group: str
    consumer: str


@dataclass(slots=True)
class _Memory:
    """What a consumer has still to look after: its own unacknowledged entries from here on, and those of others."""

    own_from: str | None = "-"
    next_claim_at: float = float("-inf")  # monotonic


class RedisBus:
    """`Bus` over Redis Streams. One object per process; its consumers begin anew with it. One thread may consume while
    another publishes and acknowledges."""

    def __init__(
        self, url: str, site: str, config: BusConfig | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Connects at the first call. Raises `ConfigurationError` for an unreadable address or site name."""
        self._config = config or BusConfig()
        self._keys = {stream: site_key(site, stream.value) for stream in StreamName}
        dead = site_key(site, "dead")
        self._server = RedisConnection(url, dead, self._config.connect_timeout_s, self._config.answer_timeout_s)
        self._redis = self._server.client
        self._dead = RedisDeadLetters(self._redis, dead, self._keys, self._config.max_dead_bytes)
        self._site = site
        self._monotonic = monotonic
        self._memories: dict[_Seat, _Memory] = {}
        self._in_hand: dict[tuple[StreamName, str], set[str]] = {}  # given out by this object, not yet acknowledged
        self._room_bytes: dict[StreamName, int] = {}

    def __repr__(self) -> str:
        return f"RedisBus({self._server.address}, {site_key(self._site, '*')})"

    def close(self) -> None:
        self._redis.close()

    def ping(self) -> None:
        """Raises `Unavailable` if the server does not answer."""
        with self._server.errors():
            self._redis.ping()

    # --- writing ------------------------------

    def publish(self, stream: StreamName, messages: Sequence[Message]) -> None:
        """Append in order, all or nothing. Raises `BusFull`, `Unavailable`, and `InvalidMessage` for a message that
        no reader would accept."""
        entries = [fields_of(stream, message) for message in messages]
        if not entries:
            return
        with self._server.errors():
            self._make_room(stream, sum(map(size_bytes, entries)))
            self._server.write([("XADD", self._keys[stream], "*", *chain(*fields.items())) for fields in entries])

    def _make_room(self, stream: StreamName, wanted_bytes: int) -> None:
        if self._room_bytes.get(stream, 0) < wanted_bytes:
            used = self._used_bytes(self._keys[stream])
            if used >= self._config.max_stream_bytes:
                self.trim()
                used = self._used_bytes(self._keys[stream])
            if used >= self._config.max_stream_bytes:
                raise BusFull(
                    f"{self._keys[stream]} holds {used} bytes; at most {self._config.max_stream_bytes} are allowed: "
                    f"are its readers running ({', '.join(GROUPS[stream]) or 'none'})?"
                )
            self._room_bytes[stream] = (self._config.max_stream_bytes - used) // _SHARE_BETWEEN_MEASUREMENTS
        self._room_bytes[stream] -= wanted_bytes

    def _used_bytes(self, key: str) -> int:
        return int(self._redis.memory_usage(key, samples=_MEASURED_NODES) or 0)

    # --- reading ------------------------------

    def consume(self, stream: StreamName, group: str, consumer: str, count: int, block_s: float) -> list[Delivery]:
        """See `Bus`. Blocks at most half of `answer_timeout_s`, however long `block_s` is. Messages that are handed out
        again come `redelivery_count` at a time."""
        seat = _Seat(stream, self._keys[stream], group, consumer)
        memory = self._memories.setdefault(seat, _Memory())
        try:
            with self._server.errors():
                try:
                    return self._read(seat, memory, count, block_s)
                except redis.ResponseError as error:
                    # The group went with the data: an empty restart, FLUSHALL, a deleted key.
                    if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                        raise
                self._create_group(seat)
                return self._read(seat, memory, count, block_s)
        except Unavailable:
            # The server may have given us entries in an answer that never arrived: look for our own again.
            memory.own_from = "-"
            raise

    def _read(self, seat: _Seat, memory: _Memory, count: int, block_s: float) -> list[Delivery]:
        return self._own(seat, memory) or self._abandoned(seat, memory) or self._new(seat, count, block_s)

    def _own(self, seat: _Seat, memory: _Memory) -> list[Delivery]:
        while memory.own_from is not None:
            pending = self._redis.xpending_range(
                seat.key, seat.group, memory.own_from, "+", self._config.redelivery_count, consumername=seat.consumer
            )
            memory.own_from = f"({pending[-1]['message_id'].decode()}" if pending else None
            if deliveries := self._take_over(seat, self._not_in_hand(seat, pending), min_idle_s=0.0):
                return deliveries
        return []

    def _abandoned(self, seat: _Seat, memory: _Memory) -> list[Delivery]:
        if self._monotonic() < memory.next_claim_at:
            return []
        idle_s, start = self._config.claim_idle_s, "-"
        while pending := self._redis.xpending_range(
            seat.key, seat.group, start, "+", self._config.redelivery_count, idle=int(idle_s * 1000)
        ):
            # This process may work on a message for longer than that; then nothing was abandoned.
            if deliveries := self._take_over(seat, self._not_in_hand(seat, pending), idle_s):
                return deliveries
            start = f"({pending[-1]['message_id'].decode()}"
        memory.next_claim_at = self._monotonic() + idle_s / 4
        return []

    def _not_in_hand(self, seat: _Seat, pending: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        in_hand = self._in_hand.get((seat.stream, seat.group), set())
        return [entry for entry in pending if entry["message_id"].decode() not in in_hand]

    def _take_over(self, seat: _Seat, pending: Sequence[Mapping[str, Any]], min_idle_s: float) -> list[Delivery]:
        """Make pending entries this consumer's, and count the hand-out; those given up go to the dead letters."""
        if not pending:
            return []
        counts = {entry["message_id"]: int(entry["times_delivered"]) for entry in pending}
        claimed = self._redis.xclaim(seat.key, seat.group, seat.consumer, int(min_idle_s * 1000), list(counts))
        deliveries: list[Delivery] = []
        for entry_id, fields in claimed:
            if is_given_up(counts[entry_id], self._config):
                self._dead.bury(seat.stream, seat.group, entry_id.decode(), given_up_reason(counts[entry_id]), fields)
            else:
                deliveries += self._deliver(seat, [(entry_id, fields)], counts[entry_id] + 1)
        return deliveries

    def _new(self, seat: _Seat, count: int, block_s: float) -> list[Delivery]:
        # Redis reads 0 as for ever, and a wait as long as the socket's own limit would look like a lost server.
        block_ms = int(min(block_s, self._config.answer_timeout_s / 2) * 1000) or None
        answer = self._redis.xreadgroup(seat.group, seat.consumer, {seat.key: ">"}, count=count, block=block_ms)
        return self._deliver(seat, answer[0][1], delivered=1) if answer else []

    def _deliver(self, seat: _Seat, entries: _Entries, delivered: int) -> list[Delivery]:
        deliveries = []
        for entry_id, fields in entries:
            try:
                message = message_of(seat.stream, fields)
            except InvalidMessage as error:
                self._dead.bury(seat.stream, seat.group, entry_id.decode(), str(error), fields)
            else:
                deliveries.append(Delivery(seat.stream, entry_id.decode(), message, delivered))
        in_hand = self._in_hand.setdefault((seat.stream, seat.group), set())
        in_hand.update(delivery.entry_id for delivery in deliveries)
        return deliveries

    def _create_group(self, seat: _Seat) -> None:
        """At the beginning of the stream, so that nothing sent before the group existed is passed over."""
        try:
            self._redis.xgroup_create(seat.key, seat.group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # another consumer was quicker
                raise
        log.info("consumer group %s of %s was created", seat.group, seat.key)

    # --- acknowledging and setting aside ------------------------------

    def acknowledge(self, deliveries: Sequence[Delivery], group: str) -> None:
        """A delivery that was acknowledged before, or that the server forgot, is passed over."""
        by_stream: dict[StreamName, list[str]] = {}
        for delivery in deliveries:
            by_stream.setdefault(delivery.stream, []).append(delivery.entry_id)
        with self._server.errors():
            for stream, entry_ids in by_stream.items():
                self._redis.xack(self._keys[stream], group, *entry_ids)
                self._in_hand.get((stream, group), set()).difference_update(entry_ids)

    def set_aside(self, delivery: Delivery, group: str, reason: str) -> None:
        """See `Bus`. While the server has no memory left the message stays pending instead and comes again later."""
        fields = {name.encode(): value for name, value in encode(delivery.message).items()}
        with self._server.errors():
            self._dead.bury(delivery.stream, group, delivery.entry_id, reason, fields)
        self._in_hand.get((delivery.stream, group), set()).discard(delivery.entry_id)

    # --- upkeep ------------------------------

    def backlog(self, stream: StreamName, group: str) -> Backlog:
        """How far `group` is behind, also shown as metrics. An upper bound where the server cannot tell exactly."""
        with self._server.errors():
            length = int(self._redis.xlen(self._keys[stream]))
            known = next((each for each in self._groups(stream) if each["name"] == group.encode()), None)
        backlog = Backlog(waiting=length, pending=0)
        if known is not None:
            pending, lag = int(known["pending"]), known.get("lag")
            # Without a lag, entries were deleted somewhere ahead of the group.
            backlog = Backlog(waiting=max(length - pending, 0) if lag is None else int(lag), pending=pending)
        return backlog

    def trim(self) -> int:
        """Drop what every group has acknowledged. Cheap; call it every few seconds from any one process of the site."""
        dropped = 0
        with self._server.errors():
            for stream, expected in GROUPS.items():
                key = self._keys[stream]
                if not expected:
                    length, used = int(self._redis.xlen(key)), self._used_bytes(key)
                    kept = unread_kept(length, used, self._config)
                    dropped += int(self._redis.xtrim(key, maxlen=kept, approximate=False)) if kept < length else 0
                elif (first := first_kept(expected, self._progress(stream))) > (0, 0):
                    dropped += int(self._redis.xtrim(key, minid=format_id(first), approximate=False))
        return dropped

    def _progress(self, stream: StreamName) -> dict[str, GroupProgress]:
        progress = {}
        for group in self._groups(stream):
            oldest = None
            if group["pending"]:
                # May be gone by now. Then all that was delivered at the time of `_groups` is acknowledged.
                summary = self._redis.xpending(self._keys[stream], group["name"].decode())
                oldest = parse_id(summary["min"].decode()) if summary["min"] else None
            last = parse_id(group["last-delivered-id"].decode())
            progress[group["name"].decode()] = GroupProgress(last, oldest)
        return progress

    def _groups(self, stream: StreamName) -> list[dict[str, Any]]:
        try:
            return list(self._redis.xinfo_groups(self._keys[stream]))
        except redis.ResponseError as error:
            if "no such key" in str(error):
                return []
            raise

    def discard(
        self, stream: StreamName, are_gone: Callable[[Sequence[Message]], Sequence[bool]], before_at: float = math.inf
    ) -> int:
        """See `Bus`. The server is asked to write its own log anew, which repeats everything that was ever sent."""
        removed, key = 0, self._keys[stream]
        with self._server.errors():
            for entries in pages(self._redis, key, before_at):
                if gone := gone_of(stream, dict(entries), are_gone):
                    removed += int(self._redis.xdel(key, *gone))
            removed += self._dead.discard(stream, are_gone, before_at)
            if removed:
                with contextlib.suppress(redis.ResponseError):  # none is kept, or it is being written already
                    self._redis.bgrewriteaof()
        return removed

    # --- dead letters ------------------------------

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        """The newest `limit` dead letters, newest first."""
        with self._server.errors():
            return self._dead.newest(limit)

    def replay(self, entry_ids: Sequence[str]) -> int:
        """See `Bus`. Every group of the stream gets the message again; one whose content was not kept stays dead."""
        with self._server.errors():
            return sum(self._replay(format_id(parse_letter_id(entry_id))) for entry_id in entry_ids)

    def _replay(self, entry_id: str) -> int:
        letter = self._dead.find(entry_id)
        if letter is None or not letter.fields:
            log.warning("dead letter %s cannot be replayed: %s", entry_id, letter.reason if letter else "unknown")
            return 0
        self._make_room(letter.stream, size_bytes(letter.fields))
        self._dead.revive(letter)
        return 1


def site_key(site: str, name: str) -> str:
    """The key of one thing of a site. Raises `ConfigurationError` for a name that would break the braces."""
    if not re.fullmatch(NAME_PATTERN, site):
        raise ConfigurationError(f"site {site!r} cannot be used; expected letters, digits, dot, dash or underscore")
    return f"sightline:{{{site}}}:{name}"
