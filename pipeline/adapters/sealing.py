"""Blobs sealed at rest: AES-256-GCM by a key that the blob names, opened by former keys as well."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pipeline.contracts import BlobKey
from pipeline.errors import ConfigurationError

_MAGIC = b"SLsealed1"  # no picture begins so
_NONCE_BYTES, _ID_BYTES, _KEY_BYTES = 12, 8, 32
_EXPECTED = "one key a line, the newest first, each as `openssl rand -base64 32` makes it"


class Seal(Protocol):
    """What happens to a blob on its way to the medium and back: nothing, or `AesSeal`."""

    def close(self, key: BlobKey, content: bytes, /) -> bytes: ...

    def open(self, key: BlobKey, stored: bytes, /) -> bytes | None:
        """The content; None where what is stored is damaged or was written for another key."""

    def is_current(self, stored: bytes) -> bool:
        """Whether it is stored as `close` would store it now."""


class NoSeal:
    """Blobs as they are. A sealed one is refused, because its key is missing."""

    def close(self, _: BlobKey, content: bytes) -> bytes:
        return content

    def open(self, key: BlobKey, stored: bytes) -> bytes | None:
        if stored.startswith(_MAGIC):
            raise ConfigurationError(
                f"blob {key} is sealed, and no key is given; set blob_key_file to the file of keys"
            )
        return stored

    def is_current(self, stored: bytes) -> bool:
        return not stored.startswith(_MAGIC)


class AesSeal:
    """Seals with the first of its keys, and opens with each. A blob from before there was a key is read as it is.

    The name of a blob is bound to its content, so that none can be put in the place of another.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Keys of 32 bytes, the newest first. Raises `ConfigurationError` without the package `cryptography`."""
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise ConfigurationError(
                "keys for blobs are given, but `cryptography` is not installed: pip install 'sightline[encryption]'"
            ) from error
        self._ciphers = {hashlib.sha256(key).digest()[:_ID_BYTES]: AESGCM(key) for key in keys}
        self._newest = next(iter(self._ciphers))

    def close(self, key: BlobKey, content: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._newest].encrypt(nonce, content, key.encode())
        return _MAGIC + self._newest + nonce + sealed

    def open(self, key: BlobKey, stored: bytes) -> bytes | None:
        """Raises `ConfigurationError` for a blob whose key is not among those given."""
        from cryptography.exceptions import InvalidTag

        if not stored.startswith(_MAGIC):
            return stored
        key_id, rest = stored[len(_MAGIC) :][:_ID_BYTES], stored[len(_MAGIC) + _ID_BYTES :]
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise ConfigurationError(
                f"blob {key} is sealed by key {key_id.hex()}, but the keys given are "
                f"{', '.join(known.hex() for known in self._ciphers)}; add the former key to the file of keys"
            )
        try:
            content: bytes = cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], key.encode())
        except (InvalidTag, ValueError):
            return None
        return content

    def is_current(self, stored: bytes) -> bool:
        return stored.startswith(_MAGIC + self._newest)


def open_seal(keys: str | None, key_file: Path | None) -> Seal:
    """The seal of some settings: keys as text, else those of a file, else none.

    Raises `ConfigurationError` for a file that cannot be read, or keys that are none. No error holds a key.
    """
    if keys is None and key_file is None:
        return NoSeal()
    if keys is None:
        assert key_file is not None
        try:
            keys = key_file.read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"no keys of blobs can be read from {key_file}; expected {_EXPECTED}") from error
    lines = keys.split()
    if not lines:
        raise ConfigurationError(f"there is no key for the blobs; expected {_EXPECTED}")
    return AesSeal([_key(line, number) for number, line in enumerate(lines, start=1)])


def _key(line: str, number: int) -> bytes:
    try:
        key = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(f"key {number} of the blobs is not {_KEY_BYTES} bytes in base64; expected {_EXPECTED}")
    return key
