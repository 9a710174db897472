"""PRID, GRID, VIPeR and iLIDS under their published names, all people present, and the fixed splits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from pipeline.errors import ConfigurationError
from reid_models.datasets.random_splits import FILE, PEOPLE, TRAINING_PEOPLE, random_splits
from reid_models.datasets.sample import DISTRACTOR, ImageDataset, identities_of, read_image
from reid_models.datasets.small_sets import read_grid, read_ilids, read_prid, read_viper

PutImages = Callable[[Path, Iterable[str]], Path]


@pytest.fixture(scope="module")
def prid(tmp_path_factory: pytest.TempPathFactory, put_images: PutImages) -> Path:
    names = [f"single_shot/cam_a/person_{number:04d}.png" for number in range(1, 386)]
    names += [f"single_shot/cam_b/person_{number:04d}.png" for number in range(1, 750)]
    names += ["multi_shot/cam_a/person_0001/0001.png"]
    return put_images(tmp_path_factory.mktemp("prid_2011"), names)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory, put_images: PutImages) -> Path:
    root = tmp_path_factory.mktemp("underground_reid")
    names = [f"probe/{number:04d}_{1 + number % 4}_25004_107_32_106_221.jpeg" for number in range(1, 251)]
    names += [f"gallery/{number:04d}_{5 + number % 4}_25023_116_134_128_330.jpeg" for number in range(1, 251)]
    names += [f"gallery/0000_8_{number}_117_134_128_330.jpeg" for number in range(775)]
    return put_images(root, names)


@pytest.fixture(scope="module")
def viper(tmp_path_factory: pytest.TempPathFactory, put_images: PutImages) -> Path:
    people = [number for number in range(800) if number % 10 != 9][:632]  # the numbers have gaps and begin at 0
    names = [f"{folder}/{n:03d}_{angle}.bmp" for folder, angle in (("cam_a", 0), ("cam_b", 90)) for n in people]
    return put_images(tmp_path_factory.mktemp("VIPeR"), names)


@pytest.fixture(scope="module")
def ilids(tmp_path_factory: pytest.TempPathFactory, put_images: PutImages) -> Path:
    names = [f"Persons/{person:04d}{image:03d}.jpg" for person in range(1, 120) for image in range(1, 3 + person % 4)]
    return put_images(tmp_path_factory.mktemp("i-LIDS_Pedestrian"), names)


def people(dataset: ImageDataset) -> tuple[set[int], set[int], set[int]]:
    train, query, gallery = (set(identities_of(part)) for part in (dataset.train, dataset.query, dataset.gallery))
    return train, query, gallery


def test_the_written_splits_are_those_of_the_function() -> None:
    assert json.loads(FILE.read_text()) == random_splits()


@pytest.mark.parametrize("name", list(PEOPLE))
def test_the_ten_splits_differ_and_have_the_published_sizes(name: str) -> None:
    splits = random_splits()[name]
    assert {len(set(split)) for split in splits} == {TRAINING_PEOPLE[name]}
    assert len({tuple(split) for split in splits}) == 10
    assert {place for split in splits for place in split} <= set(range(PEOPLE[name]))


def test_prid_searches_everybody_of_camera_b_who_does_not_train(prid: Path) -> None:
    dataset = read_prid(prid, split=9)
    train, query, gallery = people(dataset)
    assert (len(dataset.train), len(dataset.query), len(dataset.gallery)) == (200, 100, 649)
    assert train | query == set(range(1, 201))
    assert gallery == query | set(range(201, 750))
    assert {sample.camera for sample in dataset.query} == {0}
    assert {sample.camera for sample in dataset.gallery} == {1}
    assert all("single_shot/cam_b" in sample.name for sample in dataset.gallery)


def test_a_missing_person_of_prid_is_named(prid: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(prid / "single_shot", tmp_path / "single_shot"))
    (copy / "cam_b/person_0300.png").unlink()
    with pytest.raises(ConfigurationError, match=r"no single_shot/cam_b/person_0300\.png \(1 people are missing\)"):
        read_prid(tmp_path)


def test_grid_uses_the_published_partition(grid: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(grid, tmp_path / "underground_reid"))
    rng = np.random.default_rng(0)
    partitions = [rng.permutation(250)[:125] + 1 for _ in range(10)]
    cells = np.empty((1, 10), object)
    for split, trained in enumerate(partitions):
        cells[0, split] = {"probeImIdx": 2 * trained, "galleryImIdx": 2 * trained - 1, "personIdx": trained}
    savemat(copy / "features_and_partitions.mat", {"trainIdxAll": cells})
    dataset = read_grid(copy, split=3)
    train, query, gallery = people(dataset)
    assert train == set(partitions[3].tolist())
    assert query == set(range(1, 251)) - train
    assert gallery == query | {DISTRACTOR}
    assert (len(dataset.train), len(dataset.query), len(dataset.gallery)) == (250, 125, 900)
    assert dataset.protocol == "published split 3 of 10"
    assert {sample.camera for sample in dataset.query} == {0, 1, 2, 3}
    assert len({*identities_of(dataset.combined())}) == 250
    savemat(copy / "features_and_partitions.mat", {"trainIdxAll": cells[:, :4]})
    with pytest.raises(ConfigurationError, match=r"has 4 splits; expected 10 records of three fields"):
        read_grid(copy)
    savemat(copy / "features_and_partitions.mat", {"features": cells})
    with pytest.raises(ConfigurationError, match="has no trainIdxAll"):
        read_grid(copy)


def test_grid_says_that_it_fell_back_on_our_splits(grid: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = read_grid(grid, split=2)
    assert dataset.protocol == "not the published, but our fixed split 2 of 10"
    assert "has no features_and_partitions.mat: our own split 2 is used" in caplog.text
    assert (len(dataset.train), len(dataset.query), len(dataset.gallery)) == (250, 125, 900)


def test_half_a_grid_is_noticed(tmp_path: Path, put_images: PutImages) -> None:
    root = put_images(tmp_path, ("probe/0001_1_25004_107_32_106_221.jpeg", "gallery/0001_5_25023_116_134.jpeg"))
    with pytest.raises(ConfigurationError, match="has 1 people in probe/; expected the 250 of GRID"):
        read_grid(root)


def test_viper_asks_with_camera_a_and_keeps_person_000(viper: Path) -> None:
    dataset = read_viper(viper, split=1)
    train, query, gallery = people(dataset)
    assert query == gallery
    assert train | query == set(range(1, 633))
    assert not train & query
    assert (len(dataset.train), len(dataset.query), len(dataset.gallery)) == (632, 316, 316)
    assert read_image(dataset.query[0]).shape == (8, 4, 3)


def test_half_a_viper_is_noticed(viper: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(viper, tmp_path / "VIPeR"))
    (copy / "cam_b/000_90.bmp").unlink()
    with pytest.raises(ConfigurationError, match="has 632 and 631 images in cam_a/ and cam_b/"):
        read_viper(copy)


def test_ilids_loses_no_answer_to_the_cross_camera_rule(ilids: Path) -> None:
    dataset = read_ilids(ilids, split=4)
    train, query, gallery = people(dataset)
    assert query == gallery
    assert (len(train), len(dataset.query), len(dataset.gallery)) == (59, 60, 60)
    answers = {sample.identity: sample for sample in dataset.gallery}
    assert all(answers[sample.identity].camera != sample.camera for sample in dataset.query)


def test_a_person_of_ilids_with_one_image_is_named(ilids: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(ilids, tmp_path / "ilids"))
    for path in copy.glob("Persons/0004*"):
        if path.name != "0004001.jpg":
            path.unlink()
    with pytest.raises(ConfigurationError, match=r"119 people in Persons/, 1 with one image only \(Persons/0004001"):
        read_ilids(copy)


@pytest.mark.parametrize("read", [read_prid, read_grid, read_viper, read_ilids])
def test_an_empty_folder_and_an_unknown_split_are_refused(
    read: Callable[[Path, int], ImageDataset], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"has 0 images in .* check the path"):
        read(tmp_path, 0)
    with pytest.raises(ConfigurationError, match="no split 10; expected 0 to 9"):
        read(tmp_path, 10)
