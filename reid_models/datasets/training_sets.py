"""What a training method is shown. Each setting has its own type, and a type lacks what its setting does not know.

Intra-camera supervision and weakly supervised text search must not see true identities, so `IntraCameraSet` and
`PairSet` have no field for them; `intra_camera_set` and `pair_set` are the only doors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigurationError
from reid_models.datasets.sample import I64, Caption, ImageSample, read_image

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSet:
    """Full supervision. Labels count from 0 without gaps; `domains` says which source an image comes from."""

    images: U8  # (N, H, W, 3) RGB, in memory or mapped from a file
    identities: I64  # (N,)
    domains: I64  # (N,)
    cameras: I64 | None = None  # (N,) from 0, for an encoder with camera vectors


@dataclass(frozen=True, slots=True, eq=False)
class IntraCameraSet:
    """Intra-camera supervision: labels hold within one camera only, and nothing links two cameras."""

    images: U8  # (N, H, W, 3) RGB
    cameras: I64  # (N,)
    intra_camera_identities: I64  # (N,) unique over (camera, person), from 0 without gaps

    def __post_init__(self) -> None:
        labels = self.intra_camera_identities
        if len(labels) and (labels.min() < 0 or len(np.unique(labels)) != labels.max() + 1):
            raise ConfigurationError(
                f"intra-camera identities run from {labels.min()} to {labels.max()} with {len(np.unique(labels))} "
                "different ones; expected every number from 0 on"
            )
        if (self.class_cameras()[labels] != self.cameras).any():
            raise ConfigurationError("an intra-camera identity has images of two cameras; expected one camera each")

    def class_cameras(self) -> I64:
        """(G,) the camera of each intra-camera identity."""
        cameras = np.zeros(int(self.intra_camera_identities.max(initial=-1)) + 1, np.int64)
        cameras[self.intra_camera_identities] = self.cameras
        return cameras


@dataclass(frozen=True, slots=True, eq=False)
class PairSet:
    """Images with sentences about them, and nothing that says which images show one person."""

    images: U8  # (N, H, W, 3) RGB
    captions: tuple[str, ...]  # (M,)
    image_of_caption: I64  # (M,) place of each caption's image


def intra_camera_set(images: U8, cameras: I64, intra_camera_identities: I64) -> IntraCameraSet:
    """From labels in any numbering, unique over (camera, person) or within each camera."""
    pairs = np.stack([cameras, intra_camera_identities], axis=1)
    _, accumulated = np.unique(pairs, axis=0, return_inverse=True)
    return IntraCameraSet(images, np.unique(cameras, return_inverse=True)[1], accumulated.reshape(-1).astype(np.int64))


def pair_set(samples: Sequence[ImageSample], images: U8, captions: Sequence[Caption]) -> PairSet:
    """The captioned images among `samples`, each with its own sentences. Identities are dropped here.

    Raises `ConfigurationError` for a caption about an image that is not there, or images of one name.
    """
    place_of = {sample.file_name: place for place, sample in enumerate(samples)}
    if len(place_of) < len(samples):
        raise ConfigurationError(
            f"{len(samples) - len(place_of)} of {len(samples)} images share their file name with another, so captions "
            "cannot be given to images by name; expected different names, as in Market-1501"
        )
    missing = sorted({caption.image for caption in captions} - place_of.keys())
    if missing:
        raise ConfigurationError(
            f"{len(missing)} captioned images are not in the data set, {missing[0]} for one; expected the captions "
            "and the images of one split"
        )
    used = sorted({place_of[caption.image] for caption in captions})
    new_place = {place: new for new, place in enumerate(used)}
    return PairSet(
        images[used],
        tuple(caption.text for caption in captions),
        np.array([new_place[place_of[caption.image]] for caption in captions], np.int64),
    )


def decoded_images(samples: Sequence[ImageSample], size: tuple[int, int], cache: Path | None = None) -> U8:
    """All pictures at one (height, width), decoded once: (N, height, width, 3) RGB.

    With a folder `cache` they go to a file there and are mapped from it, so that a set larger than memory trains at
    the speed of the disk and a second run decodes nothing. The file's name carries a digest of names and size.
    """
    shape = (len(samples), *size, 3)
    if cache is None:
        return _decode(samples, np.empty(shape, np.uint8))
    path = cache / f"{digest_of_samples(samples)}-{size[0]}x{size[1]}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        mapped = np.lib.format.open_memmap(unfinished, "w+", np.uint8, shape)
        _decode(samples, mapped)
        mapped.flush()
        unfinished.replace(path)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def digest_of_samples(samples: Sequence[ImageSample]) -> str:
    """16 hexadecimal digits that name a set of images by place, name and label."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(f"{sample.archive.address}|{sample.name}|{sample.identity}|{sample.camera}\n".encode())
    return digest.hexdigest()[:16]


def _decode(samples: Sequence[ImageSample], images: U8) -> U8:
    height, width = images.shape[1:3]
    for place, sample in enumerate(samples):
        picture = read_image(sample)
        # Area averaging where a picture shrinks, so that no detail is aliased.
        shrinks = picture.shape[0] > height
        images[place] = cv2.resize(
            picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        )
    return images
