"""Bytes by content address: in a folder, or in a bucket through fsspec. A key is checked before it becomes a path."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.adapters.sealing import NoSeal, Seal
from pipeline.contracts import BlobKey, blob_key
from pipeline.errors import ConfigurationError, InvalidMessage, Unavailable

log = logging.getLogger(__name__)

_KEY = re.compile(r"[0-9a-f]{40}")


class FsBlobs:
    """Blobs in a folder of this machine (a path or `file://…`), or in a store by URL (`s3://bucket/prefix`).

    In a folder `put` writes a new file beside its place, syncs it, renames it and syncs the folder: after a power cut a
    key is whole or absent. A bucket replaces an object as a whole, and it is durable when the store has answered.
    """

    def __init__(self, url: str, seal: Seal | None = None) -> None:
        """`seal` keeps the contents from whoever can read the medium; the key of a blob is that of its true content."""
        self._seal = seal or NoSeal()
        self.shown_url = _shown(url)
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(
                f"blobs cannot be kept at {self.shown_url} ({error}); expected a folder, or s3://BUCKET/PREFIX, which "
                "needs pip install 'sightline[s3]'"
            ) from error
        self._is_folder = isinstance(self._files, LocalFileSystem)

    def put(self, content: bytes) -> BlobKey:
        """Durable when it returns. Raises `Unavailable` when the medium refuses: disk full, read-only, unreachable."""
        key = blob_key(content)
        with self._translated("write"):
            # Compared as a whole: a damaged file is no copy, and this put repairs it.
            stored = self._stored(key)
            if stored is not None and self._seal.is_current(stored) and self._seal.open(key, stored) == content:
                return key
            self._write(key, self._seal.close(key, content))
        return key

    def get(self, key: BlobKey) -> bytes | None:
        """The bytes, or None when they are missing or no longer those of the key (a flipped bit, logged).

        Raises `InvalidMessage` for a key that is none.
        """
        check_key(key)
        with self._translated("read"):
            stored = self._stored(key)
        content = None if stored is None else self._seal.open(key, stored)
        if content is not None and blob_key(content) == key:
            return content
        if stored is not None:
            log.error("blob %s does not hold what its key says (%d bytes); it counts as missing", key, len(stored))
        return None

    def delete(self, key: BlobKey) -> None:
        """Gone for good when it returns; a key without a blob is no error."""
        check_key(key)
        with self._translated("delete"), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(key))
            if self._is_folder:
                sync_folder(Path(self._path(key)).parent)

    def location(self, key: BlobKey) -> str:
        """The path or address of a blob, for people; whether it exists is not checked."""
        check_key(key)
        return self._path(key) if self._is_folder else f"{self.shown_url.rstrip('/')}/{key[:2]}/{key[2:4]}/{key}"

    def sealed(self, key: BlobKey) -> bytes | None:
        """What the medium holds, seal and all, for copies that need no key; None where there is nothing."""
        check_key(key)
        with self._translated("read"):
            return self._stored(key)

    def put_sealed(self, key: BlobKey, stored: bytes) -> None:
        """Put such a copy back; durable when it returns."""
        check_key(key)
        with self._translated("write"):
            self._write(key, stored)

    def is_empty(self) -> bool:
        """Whether nothing lies there yet."""
        with self._translated("read"):
            return not self._files.exists(self._root) or not self._files.ls(self._root, detail=False)

    def _write(self, key: BlobKey, stored: bytes) -> None:
        if self._is_folder:
            write_durably(Path(self._path(key)), stored)
        else:
            self._files.pipe_file(self._path(key), stored)

    def _stored(self, key: BlobKey) -> bytes | None:
        try:
            stored: bytes = self._files.cat_file(self._path(key))
        except FileNotFoundError:
            return None
        return stored

    def _path(self, key: BlobKey) -> str:
        """Two levels of folders keep each one small: 65,536 hold a hundred million blobs."""
        return f"{self._root}/{key[:2]}/{key[2:4]}/{key}"

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # fsspec brings the errors of every store into this family
            raise Unavailable(
                f"{self.shown_url} refused to {what} a blob ({error.strerror or type(error).__name__}); make room, or "
                "check that it is reachable and may be written"
            ) from error


class MemoryBlobs:
    """A dict; the twin for tests."""

    def __init__(self) -> None:
        self._contents: dict[BlobKey, bytes] = {}

    def put(self, content: bytes) -> BlobKey:
        key = blob_key(content)
        self._contents[key] = content
        return key

    def get(self, key: BlobKey) -> bytes | None:
        check_key(key)
        return self._contents.get(key)

    def delete(self, key: BlobKey) -> None:
        check_key(key)
        self._contents.pop(key, None)


def check_key(key: str) -> None:
    """Raises `InvalidMessage` unless `key` is 40 lower-case hexadecimal digits, so that no path can be asked for."""
    if not _KEY.fullmatch(key):
        raise InvalidMessage(f"blob key {key[:60]!r} is not valid; expected 40 hexadecimal digits")


def write_durably(path: Path, content: bytes) -> None:
    """Whole or not at all, and there after a power cut."""
    _make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    """With its parents, each one synced, so that a power cut cannot lose the way to a synced file."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _shown(url: str) -> str:
    """Without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.scheme else url
