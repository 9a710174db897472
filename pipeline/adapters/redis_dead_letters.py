"""The dead-letter stream of a site on Redis: bounded by bytes, the oldest go first."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import redis

from pipeline.adapters.bus_rules import gone_of, read_letter, write_letter
from pipeline.contracts import Message, StreamName
from pipeline.errors import InvalidMessage
from pipeline.interfaces import DeadLetter
from pipeline.metrics import DEAD_LETTERS

log = logging.getLogger(__name__)

_PAGE = 64  # entries looked at together, of half a megabyte at most as a rule
_SHARE_KEPT = 0.9  # of the budget, when it was passed, so that not every further letter has to trim


class RedisDeadLetters:
    """Used by `RedisBus`, which turns the client's errors into those of the house."""

    def __init__(self, client: Any, key: str, stream_keys: Mapping[StreamName, str], max_bytes: int) -> None:
        self._redis = client
        self._key = key
        self._stream_keys = stream_keys
        self._max_bytes = max_bytes

    def bury(self, stream: StreamName, group: str, entry_id: str, reason: str, fields: Mapping[bytes, bytes]) -> None:
        """Write the letter and acknowledge the entry in one step. Without memory for it the entry stays pending."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.xadd(self._key, write_letter(stream, group, reason, fields))
        pipeline.xack(self._stream_keys[stream], group, entry_id)
        try:
            pipeline.execute()
        except redis.OutOfMemoryError:
            # Raising would stop the very consumer whose progress frees the memory.
            log.error("%s %s stays pending, the server has no memory for a dead letter: %s", stream, entry_id, reason)
            return
        DEAD_LETTERS.labels(stream.value, group).inc()
        log.warning("%s %s of group %s was set aside: %s", stream, entry_id, group, reason)
        self._keep_within_budget()

    def newest(self, limit: int) -> list[DeadLetter]:
        entries = self._redis.xrevrange(self._key, count=limit)
        return [letter for entry_id, fields in entries if (letter := _letter(entry_id, fields))]

    def find(self, entry_id: str) -> DeadLetter | None:
        entries = self._redis.xrange(self._key, entry_id, entry_id)
        return _letter(*entries[0]) if entries else None

    def revive(self, letter: DeadLetter) -> None:
        """Put the message on its stream again and remove the letter, in one step."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.xadd(self._stream_keys[letter.stream], letter.fields)
        pipeline.xdel(self._key, letter.entry_id)
        pipeline.execute()

    def discard(
        self, stream: StreamName, are_gone: Callable[[Sequence[Message]], Sequence[bool]], before_at: float
    ) -> int:
        """Remove letters of a stream; see `Bus.discard`."""
        removed = 0
        for entries in pages(self._redis, self._key, before_at):
            letters = [letter for entry_id, fields in entries if (letter := _letter(entry_id, fields))]
            bodies = {letter.entry_id: letter.fields for letter in letters if letter.stream is stream}
            if gone := gone_of(stream, bodies, are_gone):
                removed += int(self._redis.xdel(self._key, *gone))
        return removed

    def _keep_within_budget(self) -> None:
        while (used := int(self._redis.memory_usage(self._key, samples=0) or 0)) > self._max_bytes:
            length = int(self._redis.xlen(self._key))
            if length == 1:  # larger than the budget by itself; the newest is not the one to lose
                return
            kept = max(1, int(length * _SHARE_KEPT * self._max_bytes / used))
            self._redis.xtrim(self._key, maxlen=kept, approximate=False)
            log.warning(
                "the %d oldest dead letters were dropped, to hold at most %d bytes", length - kept, self._max_bytes
            )


def pages(client: Any, key: str, before_at: float) -> Iterator[list[tuple[bytes, dict[bytes, bytes]]]]:
    """The entries of a stream that were added before a moment (UTC seconds), some at a time."""
    start, end = "-", "+" if math.isinf(before_at) else f"({int(before_at * 1000)}"
    while entries := client.xrange(key, start, end, count=_PAGE):
        yield entries
        start = f"({entries[-1][0].decode()}"


def _letter(entry_id: bytes, fields: Mapping[bytes, bytes]) -> DeadLetter | None:
    try:
        return read_letter(entry_id.decode(), fields)
    except InvalidMessage as error:
        log.warning("%s", error)
        return None
