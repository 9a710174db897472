"""One frame in memory that two processes share: the decoder puts, its worker takes the newest.

The memory has no name, so nothing is left behind whoever dies first, and it does not count against a container's small
`/dev/shm`. A lock of the kernel guards the copy: no frame is ever read half written, and a killed writer frees it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.adapters.source_options import SourceCounts
from pipeline.contracts import Image

_HEADER_BYTES = mmap.PAGESIZE
_HEADER = np.dtype(
    [
        ("sequence", "u8"),  # frames put so far
        ("index", "u8"),
        ("captured_at", "f8"),
        ("height", "u4"),
        ("width", "u4"),
        ("decoded", "u8"),
        ("corrupt", "u8"),
        ("decode_s", "f8"),
    ]
)


@dataclass(frozen=True, slots=True)
class SlotFrame:
    """A frame as it lies in the slot. `sequence` counts the frames put, from 1."""

    sequence: int
    index: int
    captured_at: float
    image: Image


class FrameSlot:
    """Shared memory for one frame of at most `max_pixels`. Pages are taken only as far as pictures reach."""

    def __init__(self, descriptor: int, max_pixels: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _HEADER_BYTES + 3 * max_pixels)
        self._header: npt.NDArray[np.void] = np.ndarray((1,), _HEADER, self._memory)
        self._pixels = np.ndarray((3 * max_pixels,), np.uint8, self._memory, offset=_HEADER_BYTES)

    @classmethod
    def create(cls, max_pixels: int) -> FrameSlot:
        """A new, empty slot; hand its `descriptor` to the other process."""
        descriptor = _unnamed_file()
        os.ftruncate(descriptor, _HEADER_BYTES + 3 * max_pixels)
        return cls(descriptor, max_pixels)

    def put(self, image: Image, index: int, captured_at: float) -> None:
        """Replace the frame; waits for a reader that is copying."""
        height, width = image.shape[:2]
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX)
        try:
            self._pixels[: image.size].reshape(image.shape)[:] = image
            header = self._header[0]
            header["index"], header["captured_at"] = index, captured_at
            header["height"], header["width"] = height, width
            header["sequence"] += 1
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN)

    def take(self, after: int) -> SlotFrame | None:
        """A copy of the frame if it is newer than sequence `after`; None also while one is being put. Never waits."""
        header = self._header[0]
        if header["sequence"] <= after:
            return None
        try:
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        try:
            height, width = int(header["height"]), int(header["width"])
            image = self._pixels[: 3 * height * width].reshape(height, width, 3).copy()
            return SlotFrame(int(header["sequence"]), int(header["index"]), float(header["captured_at"]), image)
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN)

    @property
    def sequence(self) -> int:
        """How many frames were put so far."""
        return int(self._header[0]["sequence"])

    def note(self, counts: SourceCounts) -> None:
        """Tell how far decoding is; each figure is replaced on its own, without the lock."""
        header = self._header[0]
        header["decoded"], header["corrupt"], header["decode_s"] = counts.decoded, counts.corrupt, counts.decode_s

    def counts(self) -> SourceCounts:
        header = self._header[0]
        return SourceCounts(int(header["decoded"]), int(header["corrupt"]), float(header["decode_s"]))

    def close(self) -> None:
        del self._header, self._pixels  # memory with views of it cannot be unmapped
        self._memory.close()
        os.close(self.descriptor)


def _unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("sightline-frame", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
