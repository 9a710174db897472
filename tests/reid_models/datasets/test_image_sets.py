"""Readers of the larger image sets, each on a miniature with the published layout and names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigurationError
from reid_models.datasets.cuhk02 import read_cuhk02
from reid_models.datasets.cuhk_sysu import read_cuhk_sysu
from reid_models.datasets.dukemtmc import read_dukemtmc
from reid_models.datasets.labels import relabelled
from reid_models.datasets.market1501 import read_market1501
from reid_models.datasets.msmt17 import read_msmt17
from reid_models.datasets.sample import DISTRACTOR, ImageSample, cameras_of, identities_of, read_image

PutImages = Callable[[Path, Iterable[str]], Path]
Zipped = Callable[[Path], Path]

MARKET = (
    "bounding_box_train/0002_c1s1_000451_03.jpg",
    "bounding_box_train/0002_c6s1_000551_01.jpg",
    "bounding_box_train/0007_c3s3_077419_03.jpg",
    "query/0001_c1s1_001051_00.jpg",
    "bounding_box_test/0001_c2s1_000301_00.jpg",
    "bounding_box_test/-1_c1s1_000401_03.jpg",
    "bounding_box_test/0000_c1s1_000151_01.jpg",
)
MSMT17_LISTS = {
    "list_train.txt": ("train", ["0000/0000_000_01_0303morning_0015_0.jpg 0", "0001/0001_000_15_0302n_0015_1.jpg 1"]),
    "list_val.txt": ("train", ["0000/0000_011_03_0303morning_0020_0.jpg 0"]),
    "list_query.txt": ("test", ["0000/0000_003_01_0303morning_0032_2.jpg 0"]),
    "list_gallery.txt": (
        "test",
        ["0000/0000_004_05_0303morning_0032_2.jpg 0", "0001/0001_000_02_0303noon_0001_0.jpg 1"],
    ),
}


def numbers(samples: Iterable[ImageSample]) -> list[tuple[int, int]]:
    return [(sample.identity, sample.camera) for sample in samples]


@pytest.fixture
def msmt17(tmp_path: Path, put_images: PutImages) -> Callable[[str], Path]:
    def make(version: str) -> Path:
        root = tmp_path / f"MSMT17_{version}"
        for name, (part, lines) in MSMT17_LISTS.items():
            folder = part if version == "V1" else f"mask_{part}_v2"
            put_images(root / folder, [line.split()[0] for line in lines])
            (root / name).write_text("\n".join(lines) + "\n")
        return root

    return make


def test_market1501_combines_all_people_but_makes_no_person_of_the_distractors(
    tmp_path: Path, put_images: PutImages
) -> None:
    dataset = read_market1501(put_images(tmp_path / "Market-1501-v15.09.15", MARKET))
    assert numbers(dataset.gallery) == [(DISTRACTOR, 0), (1, 1)]
    assert [sample.file_name for sample in dataset.combined()] == [
        name.rsplit("/", 1)[1] for name in MARKET if "-1_" not in name and "0000_" not in name
    ]
    assert relabelled(dataset.combined()).tolist() == [1, 1, 2, 0, 0]
    with pytest.raises(ConfigurationError, match=r"0000_c1s1_000151_01\.jpg is a distractor or junk \(1 of 2"):
        relabelled(dataset.gallery)


def test_files_that_systems_leave_behind_are_no_images(tmp_path: Path, put_images: PutImages) -> None:
    root = put_images(tmp_path, (*MARKET, "bounding_box_train/._0002_c1s1_000451_03.jpg"))
    (root / "query" / "Thumbs.db").write_bytes(b"x")
    assert len(read_market1501(root).train) == 3


def test_dukemtmc_reads_its_own_names_and_png_too(tmp_path: Path, put_images: PutImages) -> None:
    names = (
        "bounding_box_train/0001_c2_f0046182.jpg",
        "bounding_box_train/0005_c8_f0046985.png",
        "query/0002_c1_f0044158.jpg",
        "bounding_box_test/0002_c3_f0044158.jpg",
    )
    dataset = read_dukemtmc(put_images(tmp_path / "DukeMTMC-reID", names))
    assert numbers(dataset.train) == [(1, 1), (5, 7)]
    assert relabelled(dataset.train).tolist() == [0, 1]
    assert (len(dataset.query), len(dataset.gallery)) == (1, 1)
    with pytest.raises(ConfigurationError, match="is not named as in Market-1501"):
        read_market1501(tmp_path)


@pytest.mark.parametrize("version", ["V1", "V2"])
def test_msmt17_follows_its_lists(version: str, msmt17: Callable[[str], Path]) -> None:
    dataset = read_msmt17(msmt17(version))
    assert dataset.protocol == f"{version}, train and val"
    assert numbers(dataset.train) == [(1, 0), (2, 14), (1, 2)]
    assert numbers(dataset.query) == [(3, 0)]
    assert numbers(dataset.gallery) == [(3, 4), (4, 1)]
    assert read_image(dataset.train[0]).shape == (8, 4, 3)


def test_msmt17_without_validation_keeps_the_people_apart_in_the_same_way(msmt17: Callable[[str], Path]) -> None:
    dataset = read_msmt17(msmt17("V1"), with_validation=False)
    assert numbers(dataset.train) == [(1, 0), (2, 14)]
    assert len(np.unique(relabelled(dataset.combined()))) == 4


def test_msmt17_reads_a_zip_as_it_reads_the_folder(msmt17: Callable[[str], Path], zipped: Zipped) -> None:
    root = msmt17("V1")
    assert numbers(read_msmt17(zipped(root)).combined()) == numbers(read_msmt17(root).combined())


def test_repacked_msmt17_has_cameras_of_two_digits(tmp_path: Path, put_images: PutImages) -> None:
    names = (
        "bounding_box_train/0000_c01_0001.jpg",
        "bounding_box_train/0000_c14_0031.jpg",
        "bounding_box_train/0001_c2_f0044158.jpg",
        "query/0000_c15_0002.jpg",
        "bounding_box_test/0000_c09_0003.jpg",
    )
    root = put_images(tmp_path / "MSMT17", names)
    dataset = read_msmt17(root)
    assert numbers(dataset.train) == [(1, 0), (1, 13), (2, 1)]
    assert numbers((*dataset.query, *dataset.gallery)) == [(3, 14), (3, 8)]
    with pytest.raises(ConfigurationError, match="where the validation images are mixed with the training images"):
        read_msmt17(root, with_validation=False)


def test_msmt17_says_what_is_missing(tmp_path: Path, msmt17: Callable[[str], Path]) -> None:
    root = msmt17("V1")
    (root / "test/0000/0000_004_05_0303morning_0032_2.jpg").unlink()
    with pytest.raises(ConfigurationError, match=r"list_gallery\.txt .* names 2 images, but test/0000/0000_004_05"):
        read_msmt17(root)
    (root / "list_query.txt").write_text("0000/0000_003_01_0303morning_0032_2.jpg\n")
    with pytest.raises(
        ConfigurationError, match=r"list_query\.txt .*, line 1 reads '0000/0000_003.* expected an image"
    ):
        read_msmt17(root)
    (root / "list_query.txt").unlink()
    with pytest.raises(ConfigurationError, match=r"list_query\.txt is missing"):
        read_msmt17(root)
    msmt17("V2")
    with pytest.raises(ConfigurationError, match="holds several copies"):
        read_msmt17(tmp_path)
    (root / "train").rename(root / "else")
    with pytest.raises(ConfigurationError, match="no images in train or mask_train_v2 beside it"):
        read_msmt17(root)


def test_cuhk02_counts_people_and_cameras_through_its_pairs(tmp_path: Path, put_images: PutImages) -> None:
    names = [
        f"Dataset/P{pair}/cam{camera}/{person:03d}_{camera:02d}.png"
        for pair in range(1, 6)
        for camera in (1, 2)
        for person in (1, 2)
    ]
    root = put_images(tmp_path / "cuhk02", names)
    dataset = read_cuhk02(root)
    assert np.unique(identities_of(dataset.train)).tolist() == list(range(1, 9))
    assert np.unique(cameras_of(dataset.train)).tolist() == list(range(8))
    assert numbers(dataset.query) == [(9, 8), (10, 8)]
    assert numbers(dataset.gallery) == [(9, 9), (10, 9)]
    for name in names:
        if "/P3/cam2/" in name:
            (root / name).unlink()
    with pytest.raises(ConfigurationError, match=r"has no images such as P3/cam2/001_01\.png"):
        read_cuhk02(root)


def test_cuhk_sysu_has_one_camera_and_only_trains(tmp_path: Path, put_images: PutImages) -> None:
    names = ("cropped_images/p10_s1_1.jpg", "cropped_images/p2_s17.jpg", "cropped_images/p2_s9_3.jpg")
    dataset = read_cuhk_sysu(put_images(tmp_path / "cuhk_sysu", names))
    assert numbers(dataset.train) == [(2, 0), (1, 0), (1, 0)]
    assert dataset.query == dataset.gallery == ()
    assert dataset.combined() == dataset.train
    with pytest.raises(ConfigurationError, match="has no images in cropped_images/; expected the cropped persons"):
        read_cuhk_sysu(put_images(tmp_path / "whole", ("Image/SSM/s1.jpg",)))
    with pytest.raises(ConfigurationError, match=r"s1\.jpg .* is not named as in cropped CUHK-SYSU"):
        read_cuhk_sysu(put_images(tmp_path / "wrong", ("cropped_images/s1.jpg",)))
