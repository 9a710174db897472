"""Labels for training: without gaps over a set, or within each camera only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.errors import ConfigurationError
from reid_models.datasets.sample import DISTRACTOR, I64, ImageSample, cameras_of, identities_of


def relabelled(samples: Sequence[ImageSample]) -> I64:
    """(N,) labels from 0 without gaps, in the order of the identity numbers: the same set always gets the same labels.

    Raises `ConfigurationError` if a distractor or junk is among the samples, for it is no person.
    """
    identities = identities_of(samples)
    strangers = np.flatnonzero(identities <= DISTRACTOR)
    if len(strangers):
        raise ConfigurationError(
            f"{samples[strangers[0]].name} is a distractor or junk ({len(strangers)} of {len(samples)} images are); "
            "expected people only: train on `train` or `combined()` of the data set, not on its gallery"
        )
    return np.unique(identities, return_inverse=True)[1].reshape(-1).astype(np.int64)


def intra_camera_labels(identities: I64, cameras: I64) -> tuple[I64, I64]:
    """The labels of intra-camera supervision: (N,) accumulated labels, and (G,) the camera of each label.

    In each camera the people seen there count from 0 in the order of their numbers; to this the number of people in
    all cameras before is added (Tan et al. 2024). A person seen by three cameras therefore becomes three labels.
    """
    if identities.shape != cameras.shape or identities.ndim != 1:
        raise ValueError(f"identities {identities.shape} and cameras {cameras.shape}; expected one of each per image")
    pairs, labels = np.unique(np.stack([cameras, identities], axis=1), axis=0, return_inverse=True)
    return labels.reshape(-1).astype(np.int64), pairs[:, 0].astype(np.int64)


def require_trainable(samples: Sequence[ImageSample], title: str, cameras: int | None = None) -> None:
    """Stop before a training that cannot succeed; `title` names the set, `cameras` is how many it should have.

    Raises `ConfigurationError` for no images, a camera without a person, and a set with one image of everybody, which
    has no pair to learn from.
    """
    if not samples:
        raise ConfigurationError(f"{title} has no training images; check the path and the chosen part")
    seen = np.unique(cameras_of(samples))
    expected = int(seen.max()) + 1 if cameras is None else cameras
    silent = sorted(set(range(expected)) - set(seen.tolist()))
    if silent:
        raise ConfigurationError(
            f"{title}: camera {silent[0]} (from 0) has no identities, {len(silent)} of {expected} cameras are like "
            f"it, in {samples[0].archive.address}; expected people in every camera: extract the set again, or leave "
            "the camera out"
        )
    images_each = np.unique(identities_of(samples), return_counts=True)[1]
    if images_each.max() < 2:
        raise ConfigurationError(
            f"{title} has one image for each of its {len(images_each)} identities, the first is {samples[0].name} in "
            f"{samples[0].archive.address}; expected at least two images of a person: use a set with several shots"
        )
