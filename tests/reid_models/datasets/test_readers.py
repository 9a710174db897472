"""Data sets by name, and the published totals."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigurationError
from reid_models.datasets.readers import READERS, TEXT_READERS, read_images_of, read_texts_of
from reid_models.datasets.sample import ImageDataset, ImageFolder, ImageSample
from reid_models.datasets.text_sets import CaptionedImage, TextDataset
from reid_models.datasets.totals import IMAGE_TOTALS, SMALL_TOTALS, TEXT_TOTALS, require_published_totals

PutImages = Callable[[Path, Iterable[str]], Path]

ARCHIVE = ImageFolder(Path("somewhere"))


def samples(count: int, identities: int, cameras: int = 1) -> tuple[ImageSample, ...]:
    return tuple(ImageSample(ARCHIVE, f"{n}.jpg", 1 + n % identities, n % cameras) for n in range(count))


def test_a_reader_by_name_gets_its_options(tmp_path: Path, put_images: PutImages) -> None:
    root = put_images(tmp_path, ("cropped_images/p1_s1_1.jpg",))
    assert read_images_of("cuhk_sysu", root).name == "cuhk_sysu"
    with pytest.raises(ConfigurationError, match="classic splits of CUHK03"):
        read_images_of("cuhk03", root, protocol="classic")


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("market", {}, "data set 'market' is unknown; expected one of market1501, msmt17, dukemtmc"),
        ("viper", {"splits": 3}, "viper has no option 'splits'; the options and their defaults: split=0"),
        ("market1501", {"split": 3}, "the options and their defaults: none"),
        ("viper", {"split": True}, "viper: split is True; expected a int"),
        ("msmt17", {"with_validation": "no"}, "msmt17: with_validation is 'no'; expected a bool"),
    ],
)
def test_an_unknown_name_or_option_lists_the_known_ones(
    name: str, options: dict[str, Any], text: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=text):
        read_images_of(name, tmp_path, **options)


def test_text_sets_are_a_list_of_their_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected one of cuhk_pedes, icfg_pedes, rstpreid"):
        read_texts_of("market1501", tmp_path)


@pytest.mark.parametrize("name", [*READERS, *TEXT_READERS])
def test_a_missing_path_is_told_by_every_reader(name: str, tmp_path: Path) -> None:
    read = read_texts_of if name in TEXT_READERS else read_images_of
    with pytest.raises(ConfigurationError, match="nothing does not exist; expected a folder"):
        read(name, tmp_path / "nothing")


def test_totals_are_known_for_every_reader() -> None:
    assert {name for name, _ in IMAGE_TOTALS} | set(SMALL_TOTALS) == set(READERS)
    assert set(TEXT_TOTALS) == set(TEXT_READERS)


def test_half_a_set_differs_from_the_published_totals() -> None:
    complete = ImageDataset("prid", samples(200, 100, 2), samples(100, 100), samples(649, 649), "fixed split 0 of 10")
    require_published_totals(complete)
    half = ImageDataset("prid", complete.train[:150], complete.query, complete.gallery, complete.protocol)
    with pytest.raises(ConfigurationError, match=r"prid .* is not complete: train_images 150 instead of 200;"):
        require_published_totals(half)


def test_half_a_text_set_differs_from_the_published_totals() -> None:
    val = test = tuple(CaptionedImage(sample, ("a", "b")) for sample in samples(1000, 200))
    train = tuple(CaptionedImage(sample, ("a", "b")) for sample in samples(18505, 3701))
    require_published_totals(TextDataset("rstpreid", train, val, test))
    with pytest.raises(ConfigurationError, match=r"test \(200, 999, 1998\) instead of \(200, 1000, 2000\)"):
        require_published_totals(TextDataset("rstpreid", train, val, test[:-1]))


def test_a_set_without_published_totals_passes() -> None:
    require_published_totals(ImageDataset("ours", samples(3, 1), (), ()))


@pytest.mark.data
@pytest.mark.skipif("SIGHTLINE_DATA" not in os.environ, reason="SIGHTLINE_DATA names no folder with real images")
def test_a_part_of_market1501_is_told_from_the_whole() -> None:
    dataset = read_images_of("market1501", Path(os.environ["SIGHTLINE_DATA"]) / "reid/market1501-split.zip")
    assert (len(dataset.train), len(dataset.query), len(dataset.gallery)) == (11368, 427, 1141)
    with pytest.raises(ConfigurationError, match="train_identities 650 instead of 751; train_images 11368 instead of"):
        require_published_totals(dataset)
