"""How many images and people the published sets have, so that a half-extracted one is noticed before a training.

Sources: the papers of the sets and their common readers; for intra-camera identities the code of Tan et al. (2024).
None where no source was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields

import numpy as np

from pipeline.errors import ConfigurationError
from reid_models.datasets.labels import intra_camera_labels
from reid_models.datasets.sample import ImageDataset, cameras_of, identities_of
from reid_models.datasets.text_sets import CaptionedImage, TextDataset


@dataclass(frozen=True, slots=True)
class ImageTotals:
    """Of one set in one protocol."""

    train_identities: int | None
    train_images: int | None
    query_images: int | None
    gallery_images: int | None  # without junk, with distractors
    train_cameras: int | None
    intra_camera_identities: int | None = None  # of the training images


@dataclass(frozen=True, slots=True)
class TextTotals:
    """Of one set: identities, images and captions of each part."""

    train: tuple[int, int, int]
    val: tuple[int, int, int]
    test: tuple[int, int, int]


IMAGE_TOTALS: Mapping[tuple[str, str], ImageTotals] = {
    ("market1501", ""): ImageTotals(751, 12936, 3368, 15913, 6, 3262),
    ("dukemtmc", ""): ImageTotals(702, 16522, 2228, 17661, 8, 2196),
    ("msmt17", "V1, train and val"): ImageTotals(1041, 32621, 11659, 82161, 15, 4821),
    ("msmt17", "V2, train and val"): ImageTotals(1041, 32621, 11659, 82161, 15, 4821),
    ("msmt17", "repacked, train and val"): ImageTotals(1041, 32621, 11659, 82161, 15, 4821),
    ("msmt17", "V1, train without val"): ImageTotals(1041, 30248, 11659, 82161, 15),
    ("msmt17", "V2, train without val"): ImageTotals(1041, 30248, 11659, 82161, 15),
    ("cuhk02", ""): ImageTotals(1577, None, None, None, 8),
    ("cuhk03", "767/700, labeled"): ImageTotals(767, 7368, 1400, 5328, 2),
    ("cuhk03", "767/700, detected"): ImageTotals(767, 7365, 1400, 5332, 2),
    ("cuhk_sysu", "training only"): ImageTotals(11934, 34574, 0, 0, 1),
}
SMALL_TOTALS: Mapping[str, ImageTotals] = {  # the same in every split
    "prid": ImageTotals(100, 200, 100, 649, 2),
    "grid": ImageTotals(125, 250, 125, 900, None),
    "viper": ImageTotals(316, 632, 316, 316, 2),
    "ilids": ImageTotals(59, None, 60, 60, None),
}
TEXT_TOTALS: Mapping[str, TextTotals] = {
    "cuhk_pedes": TextTotals((11003, 34054, 68126), (1000, 3078, 6158), (1000, 3074, 6156)),
    "icfg_pedes": TextTotals((3102, 34674, 34674), (0, 0, 0), (1000, 19848, 19848)),
    "rstpreid": TextTotals((3701, 18505, 37010), (200, 1000, 2000), (200, 1000, 2000)),
}


def image_totals(dataset: ImageDataset) -> ImageTotals:
    """What was read."""
    identities, cameras = identities_of(dataset.train), cameras_of(dataset.train)
    return ImageTotals(
        train_identities=len(np.unique(identities)),
        train_images=len(dataset.train),
        query_images=len(dataset.query),
        gallery_images=len(dataset.gallery),
        train_cameras=len(np.unique(cameras)),
        intra_camera_identities=len(intra_camera_labels(identities, cameras)[1]),
    )


def text_totals(dataset: TextDataset) -> TextTotals:
    """What was read."""
    return TextTotals(*(_counts(part) for part in (dataset.train, dataset.val, dataset.test)))


def require_published_totals(dataset: ImageDataset | TextDataset) -> None:
    """Raises `ConfigurationError` that lists the differences from the published numbers, where there are any known."""
    expected: ImageTotals | TextTotals | None
    if isinstance(dataset, TextDataset):
        found: ImageTotals | TextTotals = text_totals(dataset)
        expected, protocol = TEXT_TOTALS.get(dataset.name), ""
    else:
        found, protocol = image_totals(dataset), dataset.protocol
        expected = IMAGE_TOTALS.get((dataset.name, protocol)) or SMALL_TOTALS.get(dataset.name)
    if expected is None:
        return
    differences = [
        f"{field.name} {has} instead of {should}"
        for field, has, should in zip(fields(expected), astuple(found), astuple(expected), strict=True)
        if should is not None and has != should
    ]
    if differences:
        raise ConfigurationError(
            f"{dataset.name} ({protocol or 'as published'}) is not complete: {'; '.join(differences)}; extract or copy "
            "the data set again, or say that it is meant to be a part"
        )


def _counts(part: tuple[CaptionedImage, ...]) -> tuple[int, int, int]:
    people = {image.sample.identity for image in part}
    return len(people), len(part), sum(len(image.captions) for image in part)
