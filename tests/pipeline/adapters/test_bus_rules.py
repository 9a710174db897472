"""The rules of every bus: pure."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.bus_rules import (
    CARRIES,
    GROUPS,
    BusConfig,
    fields_of,
    format_id,
    message_of,
    parse_id,
    read_letter,
    unread_kept,
    write_letter,
)
from pipeline.contracts import MAX_MESSAGE_BYTES, MESSAGES, StreamName
from pipeline.errors import InvalidMessage
from tests.fakes import crop, embedding, event, tracklet

EXAMPLES = {
    StreamName.CROPS: tracklet(1, crop(b"jpeg")),
    StreamName.EMBEDDINGS: embedding(),
    StreamName.IDENTITIES: event(1),
}

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.binary(), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from([name.encode() for name in MESSAGES]) | st.binary(max_size=8)
versions = st.sampled_from([b"1", b"0", b"2"]) | st.binary(max_size=4)
raw_fields = st.dictionaries(st.binary(max_size=12), st.binary(max_size=40), max_size=5)


def as_bytes(fields: dict[str, bytes]) -> dict[bytes, bytes]:
    return {name.encode(): value for name, value in fields.items()}


def test_every_stream_has_its_message_and_its_groups() -> None:
    assert set(CARRIES) == set(GROUPS) == set(EXAMPLES) == set(StreamName)


@pytest.mark.parametrize("stream", StreamName)
def test_each_message_travels_on_its_own_stream_only(stream: StreamName) -> None:
    fields = fields_of(stream, EXAMPLES[stream])
    assert message_of(stream, as_bytes(fields)) == EXAMPLES[stream]
    for other in set(StreamName) - {stream}:
        with pytest.raises(InvalidMessage):
            fields_of(other, EXAMPLES[stream])
        with pytest.raises(InvalidMessage):
            message_of(other, as_bytes(fields))


@given(st.sampled_from(StreamName), names, versions, st.binary(max_size=60) | values.map(msgpack.packb))
def test_no_bytes_raise_anything_but_invalid_message(
    stream: StreamName, name: bytes, version: bytes, body: bytes
) -> None:
    with pytest.raises(InvalidMessage):
        message_of(stream, {b"type": name, b"version": version, b"body": body})


@given(raw_fields)
def test_no_fields_raise_anything_but_invalid_message(fields: dict[bytes, bytes]) -> None:
    with pytest.raises(InvalidMessage):
        message_of(StreamName.CROPS, fields)


@given(st.sampled_from(StreamName), st.data())
def test_a_message_with_one_field_gone_wrong_is_invalid_or_still_a_message(
    stream: StreamName, data: st.DataObject
) -> None:
    content = EXAMPLES[stream].model_dump(mode="python")
    content[data.draw(st.sampled_from(sorted(content)))] = data.draw(values)
    fields = as_bytes(fields_of(stream, EXAMPLES[stream])) | {b"body": msgpack.packb(content)}
    try:
        assert isinstance(message_of(stream, fields), CARRIES[stream])
    except InvalidMessage as error:
        assert str(error)


@given(st.sampled_from(StreamName), st.text(max_size=20), st.text(max_size=2000), raw_fields)
def test_a_dead_letter_comes_back_as_it_was_written(
    stream: StreamName, group: str, reason: str, fields: dict[bytes, bytes]
) -> None:
    letter = read_letter("1500-2", write_letter(stream, group, reason, fields))
    assert (letter.stream, letter.group, letter.fields) == (stream, group, fields)
    assert reason.startswith(letter.reason)
    assert letter.failed_at == 1.5


def test_a_dead_letter_that_somebody_else_wrote_is_invalid() -> None:
    with pytest.raises(InvalidMessage, match="names no stream"):
        read_letter("1-0", {b"a": b"b"})


def test_the_largest_message_that_may_travel_is_kept_when_it_is_dead() -> None:
    fields = {b"type": b"TrackletCrops", b"version": b"1", b"body": bytes(MAX_MESSAGE_BYTES)}
    assert read_letter("1-0", write_letter(StreamName.CROPS, "embedder", "test", fields)).fields == fields


@given(st.integers(0, 2**60), st.integers(0, 2**60))
def test_ids_come_back_as_they_were_written(milliseconds: int, sequence: int) -> None:
    assert parse_id(format_id((milliseconds, sequence))) == (milliseconds, sequence)


@given(st.integers(0, 10**6), st.integers(0, 10**10))
def test_an_unread_stream_keeps_within_its_length_and_shrinks_beyond_its_bytes(length: int, used_bytes: int) -> None:
    config = BusConfig(max_unread_events=1000, max_stream_bytes=10**6)
    kept = unread_kept(length, used_bytes, config)
    assert 0 <= kept <= min(length, 1000)
    if used_bytes >= 10**6:
        assert kept <= length // 2


def test_an_oversized_message_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidMessage, match="fewer or smaller"):
        fields_of(StreamName.IDENTITIES, event(1, MAX_MESSAGE_BYTES))
