"""What every bus keeps to, whatever carries it: which message and which groups a stream has, how much it may hold,
what may be trimmed, when a message is given up, and how a dead letter is written down. Pure but for the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from pipeline.contracts import (
    MAX_MESSAGE_BYTES,
    IdentityEvent,
    Message,
    StreamName,
    TrackletCrops,
    TrackletEmbedding,
    decode,
    encode,
)
from pipeline.errors import ConfigurationError, InvalidMessage
from pipeline.interfaces import Backlog, DeadLetter
from pipeline.metrics import STREAM_PENDING, STREAM_WAITING

CARRIES: dict[StreamName, type[Message]] = {
    StreamName.CROPS: TrackletCrops,
    StreamName.EMBEDDINGS: TrackletEmbedding,
    StreamName.IDENTITIES: IdentityEvent,
}

# Nothing is trimmed before each of these has acknowledged it, even while the group has not yet appeared. A stream
# without groups is bounded by its length alone: identity events can be read again from the database, the truth.
GROUPS: dict[StreamName, tuple[str, ...]] = {
    StreamName.CROPS: ("embedder", "archiver"),
    StreamName.EMBEDDINGS: ("matcher",),
    StreamName.IDENTITIES: (),
}

Entry = TypeVar("Entry")
EntryId = tuple[int, int]  # milliseconds, sequence: the order of a stream

_LETTER_FIELD = "letter:"  # before the names of what is known of a dead letter
_RAW_FIELD = b"raw:"  # before the names of the fields it had
_KEPT_BYTES = MAX_MESSAGE_BYTES + 1024  # of a dead letter; more could never be read, so it need not be replayed


@dataclass(frozen=True, slots=True)
class BusConfig:
    """Limits of a bus; the defaults suit a site of tens of cameras."""

    max_stream_bytes: int = 512_000_000  # per stream, as held by the server; beyond it publishing raises `BusFull`
    max_dead_bytes: int = 64_000_000  # the oldest dead letters go first
    max_unread_events: int = 100_000  # length of a stream without groups, whose oldest entries go without being read
    max_deliveries: int = 3  # a message handed out more often goes to the dead letters
    claim_idle_s: float = 60.0  # unacknowledged for so long, a message is given to another consumer
    redelivery_count: int = 1  # messages handed out again at a time: with 1, a deadly one takes no neighbours with it
    connect_timeout_s: float = 2.0
    answer_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class GroupProgress:
    """How far one group has read: the newest entry given to it and the oldest that it has not acknowledged."""

    last_delivered: EntryId
    oldest_pending: EntryId | None


def fields_of(stream: StreamName, message: Message) -> dict[str, bytes]:
    """The fields of a stream entry. Raises `InvalidMessage` for the wrong stream or more than a reader accepts."""
    if not isinstance(message, CARRIES[stream]):
        raise InvalidMessage(
            f"{type(message).__name__} does not belong on the {stream} stream, which carries {CARRIES[stream].__name__}"
        )
    fields = encode(message)
    if len(fields["body"]) > MAX_MESSAGE_BYTES:
        raise InvalidMessage(
            f"{type(message).__name__} has {len(fields['body'])} bytes; at most {MAX_MESSAGE_BYTES} are allowed: "
            "send fewer or smaller crops"
        )
    return fields


def message_of(stream: StreamName, fields: dict[bytes, bytes]) -> Message:
    """A stream entry back to its message. Raises `InvalidMessage` for anything that this stream does not carry."""
    message = decode(fields)
    if not isinstance(message, CARRIES[stream]):
        raise InvalidMessage(
            f"{type(message).__name__} came on the {stream} stream, which carries {CARRIES[stream].__name__}"
        )
    return message


def gone_of(
    stream: StreamName,
    entries: Mapping[Entry, Mapping[bytes, bytes]],
    are_gone: Callable[[Sequence[Message]], Sequence[bool]],
) -> list[Entry]:
    """Which of some entries `are_gone` means. What cannot be read is nobody's, and goes by its age alone."""
    readable: dict[Entry, Message] = {}
    for entry, fields in entries.items():
        with suppress(InvalidMessage):
            readable[entry] = message_of(stream, dict(fields))
    answers = are_gone(list(readable.values())) if readable else []
    return [entry for entry, is_gone in zip(readable, answers, strict=True) if is_gone]


def size_bytes(fields: Mapping[bytes, bytes] | Mapping[str, bytes]) -> int:
    """Names and values of an entry together."""
    return sum(len(name) + len(value) for name, value in fields.items())


def first_kept(expected: Sequence[str], progress: Mapping[str, GroupProgress]) -> EntryId:
    """The oldest entry that some group still needs: everything before it may go.

    An expected group that has not appeared yet still needs everything, so the answer is then the very beginning. A
    group that nobody declared counts as well while it exists.
    """
    if not progress or any(group not in progress for group in expected):
        return (0, 0)
    return min(group.oldest_pending or _following(group.last_delivered) for group in progress.values())


def unread_kept(length: int, used_bytes: int, config: BusConfig) -> int:
    """How many entries of a stream without groups may stay: nobody's progress could ever make room in it."""
    affordable = length if used_bytes < config.max_stream_bytes else length // 2
    return min(affordable, config.max_unread_events)


def is_given_up(delivered: int, config: BusConfig) -> bool:
    """Whether a message that was handed out `delivered` times is not handed out again."""
    return delivered >= config.max_deliveries


def given_up_reason(delivered: int) -> str:
    return (
        f"handed out {delivered} times and never acknowledged: the consumer failed or stopped each time; "
        "find the reason in its log, then replay"
    )


def observe_backlog(stream: StreamName, group: str, backlog: Backlog) -> None:
    """Show a backlog as metrics."""
    STREAM_WAITING.labels(stream.value, group).set(backlog.waiting)
    STREAM_PENDING.labels(stream.value, group).set(backlog.pending)


def write_letter(stream: StreamName, group: str, reason: str, fields: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The fields of a dead letter. Content beyond what a message may have is left out, and the reason says so."""
    size = size_bytes(fields)
    if size > _KEPT_BYTES:
        reason = f"{reason} (its {size} bytes were not kept)"
        fields = {}
    known = {"stream": stream.value, "group": group, "reason": reason[:1000]}
    letter = {f"{_LETTER_FIELD}{name}".encode(): text.encode() for name, text in known.items()}
    return letter | {_RAW_FIELD + name: value for name, value in fields.items()}


def read_letter(entry_id: str, fields: Mapping[bytes, bytes]) -> DeadLetter:
    """A dead letter back from its fields. Raises `InvalidMessage` if somebody else wrote it."""

    def known(name: str) -> str:
        return fields.get(f"{_LETTER_FIELD}{name}".encode(), b"").decode(errors="replace")

    if known("stream") not in set(StreamName):
        raise InvalidMessage(f"dead letter {entry_id} names no stream; expected one of {', '.join(StreamName)}")
    return DeadLetter(
        entry_id=entry_id,
        stream=StreamName(known("stream")),
        group=known("group"),
        reason=known("reason"),
        failed_at=parse_id(entry_id)[0] / 1000.0,
        fields={name[len(_RAW_FIELD) :]: value for name, value in fields.items() if name.startswith(_RAW_FIELD)},
    )


def parse_id(text: str) -> EntryId:
    """`"1700000000000-3"` → (1700000000000, 3)."""
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence or 0)


def parse_letter_id(text: str) -> EntryId:
    """The number of a dead letter as an operator types it. Raises `ConfigurationError` for anything else."""
    try:
        return parse_id(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{text!r} is no dead letter; expected a number such as 1700000000000-0 from `sightline dead list`"
        ) from error


def format_id(entry: EntryId) -> str:
    return f"{entry[0]}-{entry[1]}"


def _following(entry: EntryId) -> EntryId:
    return entry[0], entry[1] + 1
