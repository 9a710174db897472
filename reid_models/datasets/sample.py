"""What a data set consists of: images with labels, and sentences about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile, ZipFile

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.contracts import Image
from pipeline.errors import ConfigurationError

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

JUNK = -1  # a detection too poor to count: removed before scoring
DISTRACTOR = 0  # a false detection or a stranger: stays in the gallery and is never right

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
JPEG_TAIL_BYTES = 1024  # some cameras write padding behind the end mark


class ImageArchive(Protocol):
    """Where a data set's image files lie: `ImageFolder` or `ImageZip`. Names are relative, with forward slashes."""

    @property
    def address(self) -> str: ...

    def names(self) -> list[str]: ...

    def read(self, name: str) -> bytes: ...


class ImageFolder:
    """The image files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def address(self) -> str:
        return str(self._root)

    def names(self) -> list[str]:
        return sorted(path.relative_to(self._root).as_posix() for path in self._root.rglob("*") if path.is_file())

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()


class ImageZip:
    """The image files inside a zip archive, which stays open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = ZipFile(path)
        except BadZipFile as error:
            raise ConfigurationError(
                f"{path} is not a complete zip archive ({error}); download or copy it again"
            ) from error

    @property
    def address(self) -> str:
        return str(self._path)

    def names(self) -> list[str]:
        return sorted(name for name in self._zip.namelist() if not name.endswith("/"))

    def read(self, name: str) -> bytes:
        try:
            return self._zip.read(name)
        except BadZipFile as error:
            raise ConfigurationError(f"{name} in {self._path} is damaged ({error}); copy the archive again") from error


def open_archive(path: Path) -> ImageArchive:
    """A folder or a .zip file; raises `ConfigurationError` for anything else."""
    if path.is_dir():
        return ImageFolder(path)
    if path.is_file():
        return ImageZip(path)
    raise ConfigurationError(f"{path} does not exist; expected a folder or a .zip file with the data set")


@dataclass(frozen=True, slots=True)
class ImageSample:
    """One labelled person image. `camera` counts from 0; `identity` may be `JUNK` or `DISTRACTOR`."""

    archive: ImageArchive
    name: str  # inside the archive
    identity: int
    camera: int

    @property
    def file_name(self) -> str:
        return self.name.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Caption:
    """One sentence about one identity, written while looking at `image` (a file name)."""

    text: str
    identity: int
    image: str


def read_image(sample: ImageSample) -> Image:
    """The decoded picture, RGB. Raises `ConfigurationError` naming the file if it cannot be decoded."""
    encoded = sample.archive.read(sample.name)
    # OpenCV fills the missing rest of a JPEG with grey and says nothing.
    is_cut_off = encoded.startswith(JPEG_START) and JPEG_END not in encoded[-JPEG_TAIL_BYTES:]
    pixels = None
    if encoded and not is_cut_off:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ConfigurationError(
            f"{sample.name} in {sample.archive.address} has {len(encoded)} bytes that are no complete JPEG or PNG "
            "image; extract or copy the data set again"
        )
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def read_images(samples: Sequence[ImageSample], height_px: int, width_px: int) -> npt.NDArray[np.uint8]:
    """All pictures in memory at one size: (N, height, width, 3) RGB."""
    images = np.empty((len(samples), height_px, width_px, 3), np.uint8)
    for position, sample in enumerate(samples):
        cv2.resize(read_image(sample), (width_px, height_px), dst=images[position], interpolation=cv2.INTER_LINEAR)
    return images


def identities_of(samples: Sequence[ImageSample | Caption]) -> npt.NDArray[np.int64]:
    return np.array([sample.identity for sample in samples], np.int64)


def cameras_of(samples: Sequence[ImageSample]) -> npt.NDArray[np.int64]:
    return np.array([sample.camera for sample in samples], np.int64)
