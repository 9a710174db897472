"""Crops at rest: unreadable without the key, readable through a change of keys, never in another's place."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import pytest

from pipeline.adapters.blobs import FsBlobs
from pipeline.adapters.sealing import open_seal
from pipeline.contracts import BlobKey, blob_key
from pipeline.errors import ConfigurationError

pytest.importorskip("cryptography", reason="the extra [encryption] is missing")
OLD, NEW = (base64.b64encode(bytes([number] * 32)).decode() for number in (1, 2))
CONTENT = b"\xff\xd8\xff a person in a red coat \xff\xd9"
KEY = blob_key(CONTENT)


def blobs(folder: Path, *keys: str) -> FsBlobs:
    return FsBlobs(str(folder), open_seal("\n".join(keys) if keys else None, None))


def file_of(folder: Path, key: BlobKey = KEY) -> Path:
    return folder / key[:2] / key[2:4] / key


def test_the_medium_never_sees_the_picture_and_its_reader_always_does(tmp_path: Path) -> None:
    sealed = blobs(tmp_path, OLD)
    assert sealed.put(CONTENT) == KEY and sealed.get(KEY) == CONTENT
    assert b"red coat" not in file_of(tmp_path).read_bytes()
    before = file_of(tmp_path).read_bytes()
    sealed.put(CONTENT)
    assert file_of(tmp_path).read_bytes() == before


def test_a_change_of_keys_reads_on_and_seals_anew_what_is_put_again(tmp_path: Path) -> None:
    blobs(tmp_path).put(CONTENT)  # before there was any key
    for keys in ((OLD,), (NEW, OLD)):
        opened = blobs(tmp_path, *keys)
        assert opened.get(KEY) == CONTENT
        opened.put(CONTENT)
    assert blobs(tmp_path, NEW).get(KEY) == CONTENT
    with pytest.raises(ConfigurationError, match="add the former key"):
        blobs(tmp_path, OLD).get(KEY)
    with pytest.raises(ConfigurationError, match="no key is given"):
        blobs(tmp_path).get(KEY)


def test_a_flipped_bit_and_a_blob_in_anothers_place_count_as_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sealed, other = blobs(tmp_path, OLD), b"somebody else"
    sealed.put(CONTENT)
    sealed.put(other)
    stored = file_of(tmp_path).read_bytes()
    file_of(tmp_path, blob_key(other)).write_bytes(stored)
    file_of(tmp_path).write_bytes(stored[:-1] + bytes([stored[-1] ^ 1]))
    with caplog.at_level(logging.ERROR):
        assert sealed.get(KEY) is sealed.get(blob_key(other)) is None
    assert caplog.text.count("counts as missing") == 2
    sealed.put(CONTENT)
    assert sealed.get(KEY) == CONTENT


def test_keys_come_from_a_file_too_and_no_error_shows_one(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{NEW}\n\n{OLD}\n")
    assert open_seal(None, file).is_current(open_seal(NEW, None).close(KEY, CONTENT))
    for text in ("hunter2", "", base64.b64encode(b"short").decode()):
        with pytest.raises(ConfigurationError, match="openssl rand -base64 32") as found:
            open_seal(text, None)
        assert not text or text not in str(found.value)
    with pytest.raises(ConfigurationError, match="no keys of blobs can be read"):
        open_seal(None, tmp_path / "missing")
