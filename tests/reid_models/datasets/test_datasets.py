"""Readers of images, captions and attributes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigurationError
from reid_models.datasets.captions import read_attributes, read_captions, read_same_frame_captions
from reid_models.datasets.described import Source, read_described_people
from reid_models.datasets.lessons import lessons_of_people
from reid_models.datasets.market1501 import read_query_and_gallery, read_train
from reid_models.datasets.sample import DISTRACTOR, cameras_of, identities_of, read_image, read_images


@pytest.fixture
def folder(miniature: Source, tmp_path: Path) -> Path:
    return Path(shutil.copytree(miniature.images, tmp_path / "set"))


def test_labels_come_from_the_file_names(miniature: Source) -> None:
    train = read_train(miniature.images)
    assert np.unique(identities_of(train)).tolist() == [1, 2, 3, 4]
    assert np.unique(cameras_of(train)).tolist() == [0, 1]
    parts = read_query_and_gallery(miniature.images)
    assert (len(train), len(parts.query), len(parts.gallery)) == (32, 8, 24)


def test_a_zip_with_the_official_top_folder_reads_like_the_folder(miniature: Source, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "set"), "zip", miniature.images.parent, miniature.images.name)
    zipped, plain = read_train(Path(archive)), read_train(miniature.images)
    assert [sample.file_name for sample in zipped] == [sample.file_name for sample in plain]
    assert np.array_equal(read_images(zipped, 32, 16), read_images(plain, 32, 16))


def test_junk_is_left_out_and_distractors_stay(folder: Path) -> None:
    some = next((folder / "bounding_box_test").iterdir())
    for name in ("-1_c1s1_000001_00.jpg", "0000_c2s1_000002_00.jpg"):
        shutil.copy(some, folder / "bounding_box_test" / name)
    identities = identities_of(read_query_and_gallery(folder).gallery)
    assert len(identities) == 25
    assert identities.min() == DISTRACTOR


def test_other_files_in_the_folders_are_ignored(folder: Path) -> None:
    (folder / "query" / "Thumbs.db").write_bytes(b"x")
    assert len(read_query_and_gallery(folder).query) == 8


def test_a_half_extracted_set_names_the_missing_part(folder: Path) -> None:
    shutil.rmtree(folder / "query")
    with pytest.raises(ConfigurationError, match=r"has no images in query/; expected bounding_box_train, query"):
        read_query_and_gallery(folder)


def test_a_wrongly_named_image_is_named(folder: Path) -> None:
    (folder / "query" / "person.jpg").write_bytes(b"x")
    with pytest.raises(
        ConfigurationError, match=r"query/person\.jpg .* expected a name such as 0002_c1s1_000451_03\.jpg"
    ):
        read_query_and_gallery(folder)


@pytest.mark.parametrize("keep", [0, 300, -2])
def test_a_damaged_image_is_named(folder: Path, keep: int) -> None:
    sample = read_train(folder)[0]
    path = folder / sample.name
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ConfigurationError, match=rf"{sample.file_name} .* copy the data set again"):
        read_image(sample)


def test_a_missing_path_and_a_broken_zip_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"does not exist; expected a folder or a \.zip file"):
        read_train(tmp_path / "nothing")
    (tmp_path / "half.zip").write_bytes(b"PK\x03\x04 half of it")
    with pytest.raises(ConfigurationError, match="is not a complete zip archive"):
        read_train(tmp_path / "half.zip")


def test_captions_and_attributes_are_read_by_split(miniature: Source) -> None:
    captions = read_captions(miniature.captions, "val")
    assert {caption.identity for caption in captions} == {5, 6, 7, 8}
    assert set(read_attributes(miniature.attributes, "train")) == {1, 2, 3, 4}


def test_sentences_go_to_the_first_crop_of_their_frame(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    described = {
        "image": "0003_c1s1_000010_00.jpg",
        "identity": "0003",
        "split": "train",
        "captions": ["A man.", "He."],
    }
    crops = ["0003_c1s1_000010_01.jpg", "0003_c1s1_000010_02.jpg"]
    path.write_text(json.dumps([described | {"same_frame_images": crops}, described | {"same_frame_images": []}]))
    captions = read_same_frame_captions(path, "train")
    assert [(caption.text, caption.image) for caption in captions] == [("A man.", crops[0]), ("He.", crops[0])]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("[{", "is not complete JSON"),
        ('[{"image": "a.jpg", "identity": "7", "split": "val"}]', r"entry 0\.captions: Field required"),
        ("[]", "has no captions of split 'val'; the splits in it: none"),
    ],
)
def test_a_malformed_caption_file_says_where(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "captions.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=text):
        read_captions(path, "val")


def test_people_of_two_sources_with_one_number_are_two_people(miniature: Source, folder: Path) -> None:
    people = read_described_people([miniature, Source(folder, folder / "captions.json", folder / "attributes.json")])
    assert len(people.samples) == 64
    assert sorted(set(people.labels.tolist())) == list(range(8))
    assert len(people.captions) == len(people.attributes) == 8
    lessons = lessons_of_people(people, np.zeros((64, 2, 1, 3), np.uint8))
    made, written = lessons.sentences(4, np.random.default_rng(0))
    assert written.text == "A man in a red shirt and black shorts."
    assert made.text != written.text


def test_an_identity_without_attributes_is_named(folder: Path) -> None:
    attributes = json.loads((folder / "attributes.json").read_text())
    del attributes["0002"]
    (folder / "attributes.json").write_text(json.dumps(attributes))
    with pytest.raises(ConfigurationError, match="no attributes of split 'train' for identity 2"):
        read_described_people([Source(folder, folder / "captions.json", folder / "attributes.json")])


def test_a_damaged_file_inside_a_zip_is_named(miniature: Source, tmp_path: Path) -> None:
    path = Path(shutil.make_archive(str(tmp_path / "set"), "zip", miniature.images))
    sample = read_train(path)[0]
    content = bytearray(path.read_bytes())
    header = content.index(sample.name.encode()) + len(sample.name)
    content[header : header + 40] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=rf"{sample.file_name} in .* is damaged .*; copy the archive again"):
        read_image(read_train(path)[0])


def test_an_image_that_went_away_is_named(folder: Path) -> None:
    sample = read_train(folder)[0]
    (folder / sample.name).unlink()
    with pytest.raises(
        ConfigurationError, match=rf"{sample.name} is missing in .*; extract or copy the data set again"
    ):
        read_image(sample)
