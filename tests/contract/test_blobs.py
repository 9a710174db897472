"""What every place for blobs promises; and what a folder promises besides, when its disk misbehaves."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.blobs import FsBlobs, MemoryBlobs, check_key
from pipeline.contracts import BlobKey, blob_key
from pipeline.errors import ConfigurationError, InvalidMessage, Unavailable
from pipeline.interfaces import Blobs

MakeBlobs = Callable[[Path], Blobs]
PLACES: dict[str, MakeBlobs] = {
    "dict": lambda _: MemoryBlobs(),
    "folder": lambda path: FsBlobs(str(path)),
    "file url": lambda path: FsBlobs(f"file://{path}"),
    "bucket": lambda path: FsBlobs(f"memory://{path.name}"),  # fsspec's own stand-in for a bucket
}


@pytest.fixture(params=list(PLACES))
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return PLACES[request.param](tmp_path / "not yet" / "there")


@pytest.fixture
def folder(tmp_path: Path) -> FsBlobs:
    return FsBlobs(str(tmp_path))


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_was_put_is_got_by_its_content_address(blobs: Blobs) -> None:
    key = blobs.put(b"crop")
    assert key == blob_key(b"crop")
    assert blobs.get(key) == b"crop"


def test_putting_again_changes_nothing(blobs: Blobs) -> None:
    assert blobs.put(b"crop") == blobs.put(b"crop")
    assert blobs.get(blob_key(b"crop")) == b"crop"


def test_an_unknown_key_is_none(blobs: Blobs) -> None:
    assert blobs.get(blob_key(b"never put")) is None


def test_deleted_is_gone_and_deleting_again_is_no_error(blobs: Blobs) -> None:
    key, other = blobs.put(b"crop"), blobs.put(b"other")
    blobs.delete(key)
    blobs.delete(key)
    assert blobs.get(key) is None
    assert blobs.get(other) == b"other"


@pytest.mark.parametrize("key", ["../../etc/passwd", "", "a" * 39, "A" * 40, "a" * 40 + "\n", "/" + "a" * 39])
def test_a_key_that_could_be_a_path_is_refused(blobs: Blobs, key: str) -> None:
    with pytest.raises(InvalidMessage, match="expected 40 hexadecimal digits"):
        blobs.get(BlobKey(key))
    with pytest.raises(InvalidMessage):
        blobs.delete(BlobKey(key))


@settings(deadline=None)
@given(st.text())
def test_only_hexadecimal_keys_pass(key: str) -> None:
    if len(key) == 40 and set(key) <= set("0123456789abcdef"):
        check_key(key)
    else:
        with pytest.raises(InvalidMessage):
            check_key(key)


def test_a_flipped_bit_counts_as_missing_is_logged_and_is_mended_by_the_next_put(
    folder: FsBlobs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = folder.put(b"crop")
    (path,) = files(tmp_path)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + b"rop")
    with caplog.at_level(logging.ERROR):
        assert folder.get(key) is None
    assert key in caplog.text
    folder.put(b"crop")
    assert folder.get(key) == b"crop"


def test_a_full_disk_is_unavailable_and_leaves_no_piece_behind(
    folder: FsBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(Unavailable, match="No space left on device"):
            folder.put(b"crop")
    assert files(tmp_path) == []
    key = folder.put(b"crop")
    assert folder.get(key) == b"crop"


def test_the_file_is_synced_before_it_gets_its_name_and_its_folder_after(
    folder: FsBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.put(b"other")
    steps: list[str] = []
    sync, replace = os.fsync, Path.replace

    def watched_sync(descriptor: int) -> None:
        steps.append("sync " + ("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file"))
        sync(descriptor)

    def watched_replace(source: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    folder.put(b"crop")
    assert steps[-3:] == ["sync file", "rename", "sync folder"]


def test_blobs_spread_over_two_levels_of_folders(folder: FsBlobs, tmp_path: Path) -> None:
    key = folder.put(b"crop")
    assert [path.relative_to(tmp_path).as_posix() for path in files(tmp_path)] == [f"{key[:2]}/{key[2:4]}/{key}"]


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_what_lies_on_the_medium_is_copied_as_it_is(place: str, tmp_path: Path) -> None:
    address = {"folder": str(tmp_path / "copy"), "bucket": f"memory://{tmp_path.name}"}[place]
    copy = FsBlobs(address)
    assert copy.is_empty()
    key = blob_key(b"a crop")
    copy.put_sealed(key, b"sealed by a key that is not here")
    assert copy.sealed(key) == b"sealed by a key that is not here" and not copy.is_empty()
    assert copy.sealed(blob_key(b"another")) is None


def test_an_unknown_kind_of_store_is_a_configuration_error_without_the_password() -> None:
    with pytest.raises(ConfigurationError, match="expected a folder, or s3://") as raised:
        FsBlobs("floppy://user:hunter2@host/crops")
    assert "hunter2" not in str(raised.value)
