"""CUHK-PEDES, ICFG-PEDES and RSTPReid in their published layouts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigurationError
from reid_models.datasets.text_sets import (
    TextDataset,
    flattened,
    read_cuhk_pedes,
    read_icfg_pedes,
    read_rstpreid,
)

PutImages = Callable[[Path, Iterable[str]], Path]
Records = list[dict[str, Any]]


def record(key: str, image: str, identity: int, split: str, captions: int = 2) -> dict[str, Any]:
    written = [f"{image} sentence {number}" for number in range(captions)]
    return {"split": split, "captions": written, key: image, "id": identity, "processed_tokens": [["a"]] * captions}


CUHK_PEDES = [
    record("file_path", "cam_b/001_90.bmp", 2, "train"),
    record("file_path", "cam_a/001_90.bmp", 1, "train", captions=3),
    record("file_path", "CUHK03/0363004.png", 11004, "val"),
    record("file_path", "test_query/p10376_s14337.jpg", 12004, "test"),
]
ICFG_PEDES = [
    record("file_path", "train/0000/0000_000_01_0303morning_0015_0.jpg", 0, "train", captions=1),
    record("file_path", "test/0627/0627_010_05_0303afternoon_1591_0.jpg", 3102, "test", captions=1),
]
RSTPREID = [
    record("img_path", f"{identity:04d}_c14_{number:04d}.jpg", identity, split)
    for identity, split in ((0, "train"), (3701, "val"), (3901, "test"))
    for number in range(5)
]

Make = Callable[[str, Records], Path]


@pytest.fixture
def make(tmp_path: Path, put_images: PutImages) -> Make:
    def build(annotation: str, records: Records) -> Path:
        images = [f"imgs/{record.get('file_path', record.get('img_path'))}" for record in records]
        root = put_images(tmp_path / "set", images)
        (root / annotation).write_text(json.dumps(records))
        return root

    return build


def test_cuhk_pedes_keeps_equal_file_names_of_two_folders_apart(make: Make) -> None:
    dataset = read_cuhk_pedes(make("reid_raw.json", CUHK_PEDES))
    assert [image.sample.name for image in dataset.train] == ["imgs/cam_a/001_90.bmp", "imgs/cam_b/001_90.bmp"]
    assert [image.sample.identity for image in dataset.train] == [1, 2]
    captions, places = flattened(dataset.train)
    assert places.tolist() == [0, 0, 0, 1, 1]
    assert captions[3] == "cam_b/001_90.bmp sentence 0"
    assert (len(dataset.val), len(dataset.test)) == (1, 1)


@pytest.mark.parametrize("annotation", ["ICFG-PEDES.json", "ICFG_PEDES.json"])
def test_icfg_pedes_is_known_by_both_names_and_has_no_validation(make: Make, annotation: str) -> None:
    dataset = read_icfg_pedes(make(annotation, ICFG_PEDES))
    assert [image.sample.identity for image in (*dataset.train, *dataset.test)] == [1, 3103]
    assert dataset.val == ()


def test_rstpreid_has_its_images_under_another_key(make: Make) -> None:
    dataset = read_rstpreid(make("data_captions.json", RSTPREID))
    assert [len(part) for part in (dataset.train, dataset.val, dataset.test)] == [5, 5, 5]
    assert {image.sample.identity for image in dataset.train} == {1}
    assert len(flattened(dataset.test)[0]) == 10


def test_a_zip_with_the_official_top_folder_reads_like_the_folder(make: Make, zipped: Callable[[Path], Path]) -> None:
    root = make("data_captions.json", RSTPREID)
    plain, packed = read_rstpreid(root), read_rstpreid(zipped(root))
    assert [image.captions for image in packed.train] == [image.captions for image in plain.train]
    assert packed.train[0].sample.name == f"set/{plain.train[0].sample.name}"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"captions": []}, r"entry 0\.captions: List should have at least 1 item"),
        ({"captions": None}, r"entry 0\.captions: Input should be a valid list"),
        ({"split": "dev"}, r"001_90\.bmp has split 'dev' and id 2; expected one of train, val, test and ids from 1"),
        ({"id": 0}, r"has split 'train' and id 0; .* is this the file of another data set\?"),
        ({"file_path": "cam_b/none.bmp"}, r"names 4 images, of which 1 are not there, the first is imgs/cam_b/none"),
    ],
)
def test_a_wrong_record_is_told(make: Make, change: dict[str, Any], text: str) -> None:
    root = make("reid_raw.json", CUHK_PEDES)
    (root / "reid_raw.json").write_text(json.dumps([CUHK_PEDES[0] | change, *CUHK_PEDES[1:]]))
    with pytest.raises(ConfigurationError, match=text):
        read_cuhk_pedes(root)


def test_wrong_keys_name_the_missing_one_and_count_the_problems(make: Make) -> None:
    root = make("reid_raw.json", CUHK_PEDES)
    renamed = [
        {"image": entry["file_path"]} | {k: entry[k] for k in ("split", "id", "captions")} for entry in CUHK_PEDES
    ]
    (root / "reid_raw.json").write_text(json.dumps(renamed))
    with pytest.raises(ConfigurationError, match=r"entry 0\.file_path: Field required \(4 problems in all\)"):
        read_cuhk_pedes(root)


@pytest.mark.parametrize("read", [read_cuhk_pedes, read_icfg_pedes, read_rstpreid])
def test_missing_annotations_are_named(read: Callable[[Path], TextDataset], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has 0 files named .*\.json; expected one, with imgs/ beside it"):
        read(tmp_path)


def test_a_cut_file_and_a_missing_split_are_told(make: Make) -> None:
    root = make("reid_raw.json", CUHK_PEDES)
    (root / "reid_raw.json").write_text(json.dumps(CUHK_PEDES[:3]))
    with pytest.raises(ConfigurationError, match="has no records of split test"):
        read_cuhk_pedes(root)
    (root / "reid_raw.json").write_text(json.dumps(CUHK_PEDES)[:-20])
    with pytest.raises(ConfigurationError, match=r"reid_raw\.json in .* is not complete JSON"):
        read_cuhk_pedes(root)
