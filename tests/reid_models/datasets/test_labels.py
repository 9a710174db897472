"""Labels without gaps, and labels that hold within one camera."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from reid_models.datasets.labels import intra_camera_labels, relabelled, require_trainable
from reid_models.datasets.market1501 import read_market1501
from reid_models.datasets.sample import ImageFolder, ImageSample, cameras_of, identities_of

ARCHIVE = ImageFolder(Path("somewhere"))
sightings = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 8)), max_size=80)


def samples(pairs: list[tuple[int, int]]) -> list[ImageSample]:
    return [ImageSample(ARCHIVE, f"{place}.jpg", *pair) for place, pair in enumerate(pairs)]


@given(sightings)
def test_relabelled_people_keep_their_order_and_leave_no_gap(pairs: list[tuple[int, int]]) -> None:
    identities = [identity for identity, _ in pairs]
    expected = [sorted(set(identities)).index(identity) for identity in identities]
    assert relabelled(samples(pairs)).tolist() == expected


@given(sightings)
def test_intra_camera_labels_are_the_accumulated_ones(pairs: list[tuple[int, int]]) -> None:
    """Against the definition: within each camera people count from 0, and the people of earlier cameras are added."""
    identities, cameras = (np.array([pair[which] for pair in pairs], np.int64) for which in (0, 1))
    labels, label_cameras = intra_camera_labels(identities, cameras)
    people_of = {camera: sorted({i for i, c in pairs if c == camera}) for camera in range(9)}
    before = {camera: sum(len(people_of[earlier]) for earlier in range(camera)) for camera in range(9)}
    assert labels.tolist() == [before[camera] + people_of[camera].index(identity) for identity, camera in pairs]
    assert label_cameras.tolist() == [camera for camera in range(9) for _ in people_of[camera]]


@given(sightings, st.integers(0, 1000))
def test_intra_camera_labels_do_not_depend_on_the_order_of_images(pairs: list[tuple[int, int]], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(pairs))
    identities, cameras = (np.array([pair[which] for pair in pairs], np.int64) for which in (0, 1))
    labels, _ = intra_camera_labels(identities, cameras)
    assert np.array_equal(intra_camera_labels(identities[order], cameras[order])[0], labels[order])


def test_intra_camera_labels_refuse_columns_of_two_lengths() -> None:
    with pytest.raises(ValueError, match="expected one of each per image"):
        intra_camera_labels(np.zeros(3, np.int64), np.zeros(2, np.int64))


@pytest.mark.parametrize(
    ("pairs", "cameras", "text"),
    [
        ([], None, "the set has no training images"),
        ([(1, 0), (1, 2)], None, r"camera 1 \(from 0\) has no identities, 1 of 3 cameras"),
        ([(1, 0), (1, 1)], 4, r"camera 2 \(from 0\) has no identities, 2 of 4 cameras"),
        ([(1, 0), (2, 1)], None, r"one image for each of its 2 identities, the first is 0\.jpg in somewhere"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(pairs: list[tuple[int, int]], cameras: int | None, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        require_trainable(samples(pairs), "the set", cameras)


def test_a_set_with_people_in_every_camera_may_train() -> None:
    require_trainable(samples([(1, 0), (1, 1), (2, 0)]), "the set", cameras=2)


@pytest.mark.data
@pytest.mark.skipif("SIGHTLINE_DATA" not in os.environ, reason="SIGHTLINE_DATA names no folder with real images")
def test_market1501_has_as_many_intra_camera_identities_as_its_official_training_part() -> None:
    """The archive holds the official training part, divided by people, so all of it together must give its totals."""
    everybody = read_market1501(Path(os.environ["SIGHTLINE_DATA"]) / "reid/market1501-split.zip").combined()
    labels, cameras = intra_camera_labels(identities_of(everybody), cameras_of(everybody))
    assert len(everybody) == 12936
    assert relabelled(everybody).max() + 1 == 751
    assert labels.max() + 1 == 3262
    assert np.bincount(cameras).tolist() == [652, 541, 694, 241, 576, 558]
    require_trainable(everybody, "market1501", cameras=6)
