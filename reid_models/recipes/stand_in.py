"""As many samples as were published, for data sets that are not here: to count and measure, never to train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reid_models.datasets.sample import I64
from reid_models.datasets.totals import IMAGE_TOTALS, TEXT_TOTALS
from reid_models.datasets.training_sets import U8
from reid_models.recipes.schema import Recipe, SourceRecipe
from reid_models.recipes.sources import TrainingSamples

CAPTION = "a person in a coat"
# Identities, images and cameras with training and test together, distractors left out: sums of the published parts.
WHOLE = {
    "market1501": (1501, 29419, 6),
    "msmt17": (4101, 126441, 15),
    "cuhk02": (1816, 7264, 10),
    "cuhk03": (1467, 14097, 2),
    "cuhk_sysu": (11934, 34574, 1),
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is to learn from."""

    images: int
    identities: int
    cameras: int
    intra_camera_identities: int | None = None  # None: not known
    captions: int = 0


def sizes_of(data: TrainingSamples) -> Sizes:
    """Of what was read."""
    classes = np.unique(np.stack([data.cameras, data.identities]), axis=1).shape[1]
    identities, cameras = len(np.unique(data.identities)), len(np.unique(data.cameras))
    return Sizes(len(data.identities), identities, cameras, classes, len(data.captions))


def published_sizes(recipe: Recipe) -> list[Sizes] | None:
    """Of each source; None if one of them is not known."""
    found = [_published(recipe, source) for source in recipe.data.train]
    known = [sizes for sizes in found if sizes is not None]
    return known if len(known) == len(found) and recipe.method != "small" else None


def stand_in_samples(recipe: Recipe, parts: Sequence[Sizes]) -> TrainingSamples:
    """Labels in the published numbers, one after the other."""
    identities, cameras, captions_before, places = [], [], 0, []
    people_before = cameras_before = images_before = 0
    for part in parts:
        rows = np.arange(part.images)
        if part.intra_camera_identities is not None and recipe.method == "ccafl":
            classes = rows % part.intra_camera_identities
            own_identities, own_cameras = classes // part.cameras, classes % part.cameras
        else:
            own_identities, own_cameras = rows % part.identities, rows % part.cameras
        identities.append(own_identities + people_before)
        cameras.append(own_cameras + cameras_before)
        places.append(np.arange(part.captions) % part.images + images_before)
        people_before += int(own_identities.max()) + 1
        cameras_before += part.cameras
        images_before += part.images
        captions_before += part.captions
    sources: I64 = np.repeat(np.arange(len(parts)), [part.images for part in parts]).astype(np.int64)
    all_cameras = np.concatenate(cameras).astype(np.int64)
    return TrainingSamples(
        (),
        np.concatenate(identities).astype(np.int64),
        all_cameras,
        all_cameras if recipe.data.domains == "cameras" else sources,
        (CAPTION,) * captions_before,
        np.concatenate(places).astype(np.int64),
    )


def grey_images(count: int, size: tuple[int, int]) -> U8:
    """(count, height, width, 3) that take the memory of one."""
    return np.broadcast_to(np.full((*size, 3), 128, np.uint8), (count, *size, 3))


def _published(recipe: Recipe, source: SourceRecipe) -> Sizes | None:
    if recipe.method == "cpcl":
        texts = TEXT_TOTALS.get(source.reader)
        return None if texts is None else Sizes(texts.train[1], texts.train[0], 1, captions=texts.train[2])
    if recipe.data.images == "all":
        whole = WHOLE.get(source.reader)
        return None if whole is None else Sizes(whole[1], whole[0], whole[2])
    protocol = {
        "msmt17": f"V1, train {'and' if source.options.get('with_validation', True) else 'without'} val",
        "cuhk03": f"767/700, {source.options.get('boxes', 'detected')}",
        "cuhk_sysu": "training only",
    }.get(source.reader, "")
    totals = IMAGE_TOTALS.get((source.reader, protocol))
    if totals is None or totals.train_images is None or totals.train_identities is None or totals.train_cameras is None:
        return None
    return Sizes(totals.train_images, totals.train_identities, totals.train_cameras, totals.intra_camera_identities)
