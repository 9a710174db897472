"""What a data set consists of: images with labels, and sentences about them."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar
from zipfile import BadZipFile, ZipFile

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.contracts import Image
from pipeline.errors import ConfigurationError

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
Key = TypeVar("Key", int, tuple[int, int])

JUNK = -1  # a detection too poor to count: removed before scoring
DISTRACTOR = 0  # a false detection or a stranger: stays in the gallery and is never right

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
JPEG_TAIL_BYTES = 1024  # some cameras write padding behind the end mark


class ImageArchive(Protocol):
    """Where a data set's image files lie: `ImageFolder` or `ImageZip`. Names are relative, with forward slashes."""

    @property
    def address(self) -> str: ...

    def names(self) -> list[str]: ...

    def read(self, name: str) -> bytes:
        """Raises `ConfigurationError` if there is no such file, or it is damaged."""


class ImageFolder:
    """The image files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def address(self) -> str:
        return str(self._root)

    def names(self) -> list[str]:
        # os.walk is four times as fast as Path.rglob here: MSMT17 has 126,000 images.
        found: list[str] = []
        for folder, _, files in os.walk(self._root):
            prefix = Path(folder).relative_to(self._root).as_posix() + "/"
            found.extend((prefix + name).removeprefix("./") for name in files)
        return sorted(found)

    def read(self, name: str) -> bytes:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError as error:
            raise _missing(name, self.address) from error


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
        except KeyError as error:
            raise _missing(name, self.address) from error
        except (BadZipFile, zlib.error, EOFError) as error:
            raise ConfigurationError(f"{name} in {self._path} is damaged ({error}); copy the archive again") from error
        except RuntimeError as error:  # what zipfile raises for a file under a password
            raise ConfigurationError(f"{name} in {self._path} cannot be read ({error}); extract it first") from error


def open_archive(path: Path) -> ImageArchive:
    """A folder or a .zip file; raises `ConfigurationError` for anything else."""
    if path.is_dir():
        return ImageFolder(path)
    if path.is_file():
        return ImageZip(path)
    raise ConfigurationError(f"{path} does not exist; expected a folder or a .zip file with the data set")


def image_names(archive: ImageArchive) -> list[str]:
    """The pictures, sorted; without what systems leave behind (`Thumbs.db`, `__MACOSX/._0002_c1.jpg`)."""
    return [
        name
        for name in archive.names()
        if name.lower().endswith(IMAGE_SUFFIXES) and not name.rsplit("/", 1)[-1].startswith(".")
    ]


def lies_in(name: str, folder: str) -> bool:
    """Whether the file lies directly in `folder`, one level or several (`query`, `labeled/query`), at any depth."""
    return f"/{name}".rpartition("/")[0].endswith(f"/{folder}")


@dataclass(frozen=True, slots=True)
class ImageSample:
    """One labelled person image. `camera` counts from 0; `identity` may be `JUNK` or `DISTRACTOR`, else from 1."""

    archive: ImageArchive
    name: str  # inside the archive
    identity: int
    camera: int

    @property
    def file_name(self) -> str:
        return self.name.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class ImageDataset:
    """The published parts, each in a fixed order and free of junk; distractors stay in the gallery.

    One identity number is one person in all three parts.
    """

    name: str
    train: tuple[ImageSample, ...]
    query: tuple[ImageSample, ...]  # empty where a set is only for training
    gallery: tuple[ImageSample, ...]
    protocol: str = ""  # which of the published variants this is, in words

    def combined(self) -> tuple[ImageSample, ...]:
        """All images of people, training and test, each once: the sources of the generalisation protocols 1 and 3.

        Distractors are left out: as a 1502nd identity of Market-1501 they would be one "person" of many.
        """
        images = dict.fromkeys((*self.train, *self.query, *self.gallery))
        return tuple(sample for sample in images if sample.identity not in (JUNK, DISTRACTOR))


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
            f"{sample.name} in {sample.archive.address} has {len(encoded)} bytes that are no complete JPEG, PNG or "
            "BMP image; extract or copy the data set again"
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


def numbered(keys: Iterable[Key]) -> dict[Key, int]:
    """Identity numbers from 1 in the order of the keys, for sets that count from 0 or begin anew in each part."""
    return {key: number for number, key in enumerate(sorted(set(keys)), start=1)}


def _missing(name: str, address: str) -> ConfigurationError:
    return ConfigurationError(f"{name} is missing in {address}; extract or copy the data set again")
