"""A message as one value of Redis, where a stream has fields for its parts."""

from __future__ import annotations

from pipeline.contracts import Message, decode, encode

_SEPARATOR = b"\x00"  # between type, version and body; neither of the first two can hold it


def pack(message: Message) -> bytes:
    fields = encode(message)
    return _SEPARATOR.join((fields["type"], fields["version"], fields["body"]))


def unpack(packed: bytes) -> Message:
    """Raises `InvalidMessage` for anything that `pack` of this or the last version has not made."""
    kind, version, body = (*packed.split(_SEPARATOR, 2), b"", b"")[:3]
    return decode({b"type": kind, b"version": version, b"body": body})
