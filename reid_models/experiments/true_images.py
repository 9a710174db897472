"""Market-1501 with its truth, which no trainer sees: to score, to break tracks as a tracker does, to watch."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn
from torch.nn import functional

from reid_models.datasets.market1501 import read_query_and_gallery, read_train
from reid_models.datasets.sample import I64, ImageSample, cameras_of, identities_of
from reid_models.datasets.training_sets import U8, decoded_images
from reid_models.evaluation import RankingScores, score_images
from reid_models.extraction import extract

F64 = npt.NDArray[np.float64]

SIZE = (64, 32)  # height, width: small, so that three seeds of every variant are affordable on a CPU


@dataclass(frozen=True, slots=True, eq=False)
class TrueImages:
    """Images with the truth about them."""

    images: U8
    identities: I64
    cameras: I64
    seen_at: F64  # (N,) seconds; Market-1501 has 25 frames per second, and its sequences are set far apart


@dataclass(frozen=True, slots=True, eq=False)
class LaboratoryData:
    """Training images, and people whom no variant was trained on."""

    train: TrueImages
    query: TrueImages
    gallery: TrueImages


def read(data: Path, cache: Path | None = None) -> LaboratoryData:
    test = read_query_and_gallery(data)
    return LaboratoryData(
        *(
            TrueImages(
                decoded_images(samples, SIZE, cache), identities_of(samples), cameras_of(samples), seconds_of(samples)
            )
            for samples in (read_train(data), test.query, test.gallery)
        )
    )


def seconds_of(samples: Sequence[ImageSample]) -> F64:
    """When each image was taken, from a name such as `0002_c1s1_000451_03.jpg`: sequence 1, frame 451."""
    names = (re.fullmatch(r"-?\d+_c\d+s(\d+)_(\d+)_\d+\.\w+", sample.file_name) for sample in samples)
    return np.array([1e6 * int(name[1]) + int(name[2]) / 25.0 for name in names if name is not None])


def score(model: nn.Module, encode: Callable[[Tensor], Tensor], data: LaboratoryData) -> RankingScores:
    query, gallery = (
        functional.normalize(extract(model, encode, part.images, SIZE), dim=1).numpy()
        for part in (data.query, data.gallery)
    )
    return score_images(
        query @ gallery.T, data.query.identities, data.query.cameras, data.gallery.identities, data.gallery.cameras
    )


def broken_tracks(identities: I64, cameras: I64, share: float, rng: np.random.Generator) -> I64:
    """What a tracker makes of people: a number (N,) for each (camera, person), `share` of them in two pieces.

    Images of a person in a camera must stand in the order of time, as sorted names of Market-1501 do: the first half
    becomes one piece, the rest the other.
    """
    _, tracks = np.unique(np.stack([cameras, identities]), axis=1, return_inverse=True)
    tracks = tracks.reshape(-1)
    count = int(tracks.max()) + 1
    for fresh, track in enumerate(rng.permutation(count)[: round(share * count)], start=count):
        members = np.flatnonzero(tracks == track)
        tracks[members[len(members) // 2 :]] = fresh
    return np.unique(tracks, return_inverse=True)[1]


def true_identities_of_classes(classes: I64, identities: I64) -> I64:
    """(G,) the identity of each class, renumbered from 0."""
    truth = np.zeros(int(classes.max()) + 1, np.int64)
    truth[classes] = np.unique(identities, return_inverse=True)[1]
    return truth
