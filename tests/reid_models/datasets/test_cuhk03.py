"""CUHK03 as published (an HDF5 file and lists of indices) and repacked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from pipeline.errors import ConfigurationError
from reid_models.datasets.cuhk03 import read_cuhk03
from reid_models.datasets.cuhk03_matlab import Cuhk03Matlab
from reid_models.datasets.labels import relabelled
from reid_models.datasets.sample import cameras_of, identities_of, read_image

PutImages = Callable[[Path, Iterable[str]], Path]

PERSONS = (3, 2, 1, 1, 1)  # of the five pairs of cameras
EMPTY = {(1, 2, 10), (1, 3, 1)}  # pair, person, image: a cell of the file may hold nothing
TEST_SETS = [[(1, 1), (2, 2)], [(1, 3), (5, 1)]]
HEIGHT_PX, WIDTH_PX = 6, 3


def colour_of(pair: int, person: int, image: int) -> tuple[int, int, int]:
    return 40 * pair, 60 * person, 20 * image


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MATLAB counts columns first, so its 6 x 3 x 3 picture is (3, 3, 6) in HDF5, and its N x 10 cell (10, N)."""
    root = tmp_path_factory.mktemp("cuhk03")
    (root / "cuhk03_release").mkdir()
    with h5py.File(root / "cuhk03_release/cuhk-03.mat", "w") as file:
        counter = iter(range(100_000))

        def stored(value: np.ndarray) -> h5py.Reference:
            return file.create_dataset(f"#refs#/{next(counter)}", data=value).ref

        for boxes in ("labeled", "detected"):
            cells = np.empty((1, 5), h5py.ref_dtype)
            for pair, persons in enumerate(PERSONS, start=1):
                images = np.empty((10, persons), h5py.ref_dtype)
                for person in range(1, persons + 1):
                    for image in range(1, 11):
                        picture = np.full((HEIGHT_PX, WIDTH_PX, 3), colour_of(pair, person, image), np.uint8)
                        picture[0] = 255  # the top row tells a turned picture
                        empty = (pair, person, image) in EMPTY
                        images[image - 1, person - 1] = stored(np.zeros(2, np.uint64) if empty else picture.T)
                cells[0, pair - 1] = stored(images)
            file[boxes] = cells
        file["testsets"] = np.array([[stored(np.array(people, np.float64).T) for people in TEST_SETS]], h5py.ref_dtype)
    return root


@pytest.fixture(scope="session")
def with_new_protocol(release: Path) -> Path:
    """Everything of pairs 1 and 2; person (1, 1) and (1, 2) train, (2, 1) tests."""
    names = [f"{pair}_{person:03d}_{1 + (image > 5)}_{image:02d}.png"
             for pair, person in ((1, 1), (1, 2), (2, 1)) for image in range(1, 11)
             if (pair, person, image) not in EMPTY]  # fmt: skip
    labels = [{"1_001": 11, "1_002": 7, "2_001": 12}[name[:5]] for name in names]
    place = {name: index for index, name in enumerate(names, start=1)}
    lists = {
        "filelist": np.array(names, object).reshape(-1, 1),
        "labels": np.array(labels).reshape(-1, 1),
        "train_idx": np.array([[place[name]] for name in names if name.startswith("1_")]),
        "query_idx": np.array([[place["2_001_1_01.png"], place["2_001_2_06.png"]]]),
        "gallery_idx": np.array([[place["2_001_1_02.png"], place["2_001_2_07.png"]]]),
    }
    for boxes in ("labeled", "detected"):
        savemat(release / f"cuhk03_new_protocol_config_{boxes}.mat", lists)
    return release


@pytest.mark.parametrize("boxes", ["labeled", "detected"])
def test_the_new_protocol_follows_its_lists(with_new_protocol: Path, boxes: str) -> None:
    dataset = read_cuhk03(with_new_protocol, boxes)
    assert dataset.protocol == f"767/700, {boxes}"
    assert np.unique(identities_of(dataset.train), return_counts=True)[1].tolist() == [9, 10]
    assert relabelled(dataset.train)[0] == 1  # person 1 has the greater label
    assert [sample.name for sample in dataset.query] == ["2_001_1_01.png", "2_001_2_06.png"]
    assert identities_of(dataset.gallery).tolist() == [12, 12]
    assert cameras_of(dataset.gallery).tolist() == [0, 1]


def test_pictures_come_out_upright_in_their_colours(with_new_protocol: Path) -> None:
    sample = read_cuhk03(with_new_protocol).query[1]
    picture = read_image(sample)
    assert picture.shape == (HEIGHT_PX, WIDTH_PX, 3)
    assert (picture[0] == 255).all()
    assert (picture[1:] == colour_of(2, 1, 6)).all()


@pytest.mark.parametrize("split", [0, 1])
def test_a_classic_split_asks_with_its_test_people_and_trains_with_the_others(release: Path, split: int) -> None:
    dataset = read_cuhk03(release, protocol="classic", split=split)
    tested = {tuple(map(int, sample.name.split("_")[:2])) for sample in dataset.query}
    assert tested == set(TEST_SETS[split])
    assert dataset.query == dataset.gallery
    assert not set(identities_of(dataset.train)) & set(identities_of(dataset.query))
    assert len(dataset.combined()) == 10 * sum(PERSONS) - len(EMPTY)
    assert len(set(identities_of(dataset.combined()))) == sum(PERSONS)


def test_repacked_cuhk03_tells_labeled_from_detected(tmp_path: Path, put_images: PutImages) -> None:
    names = [
        f"{boxes}/{part}/{name}"
        for boxes, count in (("labeled", 3), ("detected", 2))
        for part, name in [
            *(("bounding_box_train", f"0003_c{1 + number % 2}_{number}.png") for number in range(count)),
            ("query", "0001_c1_1.png"),
            ("bounding_box_test", "0001_c2_6.png"),
        ]
    ]
    root = put_images(tmp_path / "cuhk03-np", names)
    assert len(read_cuhk03(root, "labeled").train) == 3
    detected = read_cuhk03(root, "detected")
    assert [(sample.identity, sample.camera) for sample in detected.train] == [(3, 0), (3, 1)]
    assert detected.gallery[0].camera == 1
    with pytest.raises(ConfigurationError, match=r"classic splits of CUHK03 stand in cuhk-03\.mat"):
        read_cuhk03(root, protocol="classic")


def test_unknown_choices_name_the_known_ones(release: Path) -> None:
    with pytest.raises(ConfigurationError, match="no 'manual'; expected one of labeled, detected"):
        read_cuhk03(release, boxes="manual")
    with pytest.raises(ConfigurationError, match="no 'newest'; expected one of new, classic"):
        read_cuhk03(release, protocol="newest")
    with pytest.raises(ConfigurationError, match="no classic split 2; expected 0 to 1"):
        read_cuhk03(release, protocol="classic", split=2)


def test_damaged_files_are_named(tmp_path: Path, with_new_protocol: Path) -> None:
    root = tmp_path / "copy"
    root.mkdir()
    whole = (with_new_protocol / "cuhk03_release/cuhk-03.mat").read_bytes()
    (root / "cuhk-03.mat").write_bytes(whole)
    with pytest.raises(ConfigurationError, match=r"but no cuhk03_new_protocol_config_detected\.mat"):
        read_cuhk03(root)
    lists = root / "cuhk03_new_protocol_config_detected.mat"
    for content in (b"", b"x" * 300, (with_new_protocol / lists.name).read_bytes()[:200]):
        lists.write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"config_detected\.mat is not a complete MATLAB file"):
            read_cuhk03(root)
    savemat(lists, {"labels": np.zeros(2)})
    with pytest.raises(ConfigurationError, match="has no filelist, train_idx, query_idx, gallery_idx"):
        read_cuhk03(root)
    savemat(lists, dict.fromkeys(("train_idx", "query_idx", "gallery_idx", "labels"), np.ones(1))
            | {"filelist": np.array(["9_001_1_01.png"], object)})  # fmt: skip
    with pytest.raises(ConfigurationError, match=r"1 of the images are not in .* \(9_001_1_01\.png\)"):
        read_cuhk03(root)
    for content in (b"no HDF5", whole[: len(whole) // 2]):
        (root / "cuhk-03.mat").write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"is not a complete cuhk-03\.mat"):
            read_cuhk03(root)


def test_without_h5py_the_way_out_is_told(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(
        ConfigurationError, match=r"needs h5py, which is not installed; `pip install 'sightline\[matlab\]'"
    ):
        Cuhk03Matlab(release / "cuhk03_release/cuhk-03.mat", "labeled")
