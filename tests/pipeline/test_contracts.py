"""What a reader accepts from another version of the same message."""

from __future__ import annotations

import msgpack
import pytest

from pipeline.contracts import IdentityEvent, decode, encode
from pipeline.errors import InvalidMessage
from tests.fakes import event


def fields(version: int, message: IdentityEvent) -> dict[bytes, bytes]:
    body = message.model_dump(mode="python")
    if version < 2:
        del body["is_tentative"]
    return {b"type": b"IdentityEvent", b"version": b"%d" % version, b"body": msgpack.packb(body)}


def test_an_event_of_the_version_before_is_read_as_certain() -> None:
    assert decode(fields(1, event(7))) == event(7)


def test_an_event_comes_back_as_it_was_sent() -> None:
    sent = event(7).model_copy(update={"is_tentative": True, "from_global_id": 3})
    assert decode({name.encode(): value for name, value in encode(sent).items()}) == sent


def test_an_event_of_a_later_version_is_set_aside() -> None:
    with pytest.raises(InvalidMessage, match="version '3'; this process reads 1 and 2"):
        decode(fields(3, event(7)))
