"""A queue of bytes on this machine's disk: what the bus cannot take now waits here, in order.

The queue is a row of segment files that are only appended to. A record counts once it is synced; a torn tail, as a kill
or a power cut leaves it, is passed over. A segment goes when all of it was taken, so a crash in the middle of that
repeats records and loses none.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from pipeline.adapters.folder_lock import hold_folder
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.metrics import SPOOL_BYTES

log = logging.getLogger(__name__)

SEGMENT_BYTES = 8_000_000  # read as a whole when its turn comes, and repeated at most after a crash

_MAGIC = b"\xf5SLR"
_HEADER = struct.Struct("<4sII")  # magic, length of the payload, CRC-32 of the payload


@dataclass(frozen=True, slots=True)
class Records:
    """The payloads of a segment in order. `damaged_bytes` counts what lies unreadable between readable records; an
    unfinished record at the end is not counted: it was never acknowledged to anybody."""

    payloads: list[bytes]
    damaged_bytes: int


@dataclass(slots=True)
class _Reading:
    path: Path
    payloads: deque[bytes]
    is_damaged: bool


class Spool:
    """A first-in, first-out queue of bytes on disk, for one thread of one process at a time."""

    def __init__(self, folder: Path, max_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Opens what an earlier process left. Raises `ConfigurationError` while another process holds the folder."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._lock = _hold(folder)
        self._sizes = {path: path.stat().st_size for path in sorted(folder.glob("*.spool"))}  # oldest first
        # A segment kept for inspection keeps its number too, or the next one of that number would overwrite it.
        self._last_number = max((int(path.stem) for path in [*self._sizes, *folder.glob("*.damaged")]), default=0)
        self._writing: BinaryIO | None = None  # always the newest segment; never one of an earlier process
        self._reading: _Reading | None = None  # always the oldest segment
        if self._sizes:
            log.info("%d bytes of messages from an earlier run wait in %s", self.size_bytes, folder)
        SPOOL_BYTES.set(self.size_bytes)

    @property
    def size_bytes(self) -> int:
        """On disk, records taken from a segment that is not yet finished included."""
        return sum(self._sizes.values())

    @property
    def is_full(self) -> bool:
        """The budget is used up: stop making messages. What comes all the same is still kept."""
        return self.size_bytes >= self._max_bytes

    def append(self, payloads: Sequence[bytes]) -> None:
        """Durable when it returns. Raises `Unavailable` if the disk refuses; nothing of the call was appended then."""
        try:
            file, path = self._open_for(b"".join(map(write_record, payloads)))
        except OSError as error:
            raise Unavailable(
                f"{self._folder} takes no more messages ({error.strerror}); free space on this disk"
            ) from error
        self._sizes[path] = file.tell()
        SPOOL_BYTES.set(self.size_bytes)

    def peek(self, max_count: int) -> list[bytes]:
        """The oldest records, at most `max_count` and at most those of one segment; empty when nothing waits.

        Raises `Unavailable` if the disk refuses; a later call goes on at the same record.
        """
        with self._translated():
            while self._sizes and (self._reading is None or not self._reading.payloads):
                if self._reading is None:
                    self._reading = self._read(next(iter(self._sizes)))
                else:  # all of it was taken
                    self._finish(self._reading)
        return list(self._reading.payloads)[:max_count] if self._reading else []

    def take(self, count: int) -> None:
        """Remove the first `count` of the records last peeked at.

        Raises `Unavailable` if the disk refuses to let go of the segment; `peek` does not show the records again.
        """
        assert self._reading is not None and count <= len(self._reading.payloads)
        for _ in range(count):
            self._reading.payloads.popleft()
        if not self._reading.payloads:
            with self._translated():
                self._finish(self._reading)

    def keep_segment(self) -> None:
        """Set the segment that is being read aside instead of removing it: something in it could not be used."""
        if self._reading is not None:
            self._reading.is_damaged = True

    def adopt(self, folder: Path) -> None:
        """Take over what another spool left in `folder`, in order, behind what waits here, and remove the folder.

        Segments are moved, so that a crash in the middle neither loses nor repeats any. A folder that a living process
        holds is left alone; one with damaged segments stays, with these. Raises `Unavailable` if the disk refuses.
        """
        with self._translated(), suppress(ConfigurationError), _hold(folder) as lock:
            self._seal()
            for path in sorted(folder.glob("*.spool")):
                adopted = path.rename(self._next_path())
                self._sizes[adopted] = adopted.stat().st_size
            _sync_folder(self._folder)
            SPOOL_BYTES.set(self.size_bytes)
            log.info("the messages that waited in %s were taken over", folder)
            if {path.name for path in folder.iterdir()} == {Path(lock.name).name}:
                Path(lock.name).unlink()
                folder.rmdir()

    def close(self) -> None:
        """Records that were not taken stay for the next process."""
        self._seal()
        self._lock.close()

    def _open_for(self, data: bytes) -> tuple[BinaryIO, Path]:
        """The newest segment with `data` written and synced at its end."""
        if self._writing is None or self._writing.tell() >= self._segment_bytes:
            self._seal()
            self._writing = self._next_path().open("xb", buffering=0)
            _sync_folder(self._folder)
        start = self._writing.tell()
        try:
            _write_all(self._writing, data)
            os.fsync(self._writing.fileno())
        except OSError:
            self._writing.truncate(start)
            self._writing.seek(start)
            raise
        return self._writing, Path(self._writing.name)

    def _next_path(self) -> Path:
        self._last_number += 1
        return self._folder / f"{self._last_number:012d}.spool"

    def _seal(self) -> None:
        if self._writing is not None:
            self._writing.close()
            self._writing = None

    def _read(self, path: Path) -> _Reading:
        if self._writing is not None and Path(self._writing.name) == path:
            self._seal()
        records = read_records(path.read_bytes())
        if records.damaged_bytes:
            log.error("%d bytes inside %s are damaged; the records around them are sent", records.damaged_bytes, path)
        return _Reading(path, deque(records.payloads), records.damaged_bytes > 0)

    def _finish(self, reading: _Reading) -> None:
        if reading.is_damaged:
            reading.path.rename(reading.path.with_suffix(".damaged"))
            log.error("%s was kept for inspection", reading.path.with_suffix(".damaged"))
        else:
            reading.path.unlink(missing_ok=True)
        del self._sizes[reading.path]
        self._reading = None
        SPOOL_BYTES.set(self.size_bytes)
        _sync_folder(self._folder)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(
                f"messages that wait in {self._folder} cannot be read or removed ({error.strerror}); check this disk "
                "and the owner of the folder's files"
            ) from error


def write_record(payload: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, len(payload), zlib.crc32(payload)) + payload


def read_records(data: bytes) -> Records:
    """Every whole record of a segment, whatever lies between and after them."""
    payloads: list[bytes] = []
    position = damaged_from = damaged_bytes = 0
    while 0 <= position < len(data):
        payload = _record_at(data, position)
        if payload is None:
            position = data.find(_MAGIC, position + 1)
            continue
        damaged_bytes += position - damaged_from
        payloads.append(payload)
        position = damaged_from = position + _HEADER.size + len(payload)
    return Records(payloads, damaged_bytes)


def _record_at(data: bytes, position: int) -> bytes | None:
    start = position + _HEADER.size
    if start > len(data):
        return None
    magic, length, checksum = _HEADER.unpack_from(data, position)
    payload = data[start : start + length]
    is_whole = magic == _MAGIC and len(payload) == length and zlib.crc32(payload) == checksum
    return payload if is_whole else None


def _write_all(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _hold(folder: Path) -> IO[str]:
    return hold_folder(folder, "spool", "give each camera worker a spool folder of its own")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
