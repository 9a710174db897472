"""Sets with human sentences about images: CUHK-PEDES, ICFG-PEDES and RSTPReid, from folders or zip archives.

Each has a JSON list of records with `split`, `captions`, `id` and the image below `imgs/`: `file_path`, or in RSTPReid
`img_path`. CUHK-PEDES (Li et al. 2017): `reid_raw.json`, identities from 1. ICFG-PEDES (Ding et al. 2021):
`ICFG-PEDES.json` or `ICFG_PEDES.json`, no validation part, identities from 0. RSTPReid (Zhu et al. 2021):
`data_captions.json`, identities from 0. Here identities count from 1, and as text search has no camera rule, all images
are of camera 0.

CUHK-PEDES was made from images of CUHK03, Market-1501, CUHK-SYSU, VIPeR and CUHK01, the other two from MSMT17: a model
that was trained on one must not be judged on the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter

from pipeline.errors import ConfigurationError
from reid_models.datasets.json_files import parse_json
from reid_models.datasets.sample import I64, ImageSample, image_names, open_archive

IMAGES = "imgs"
SPLITS = ("train", "val", "test")


class _Record(BaseModel):
    """One image. Ready-made tokens (`processed_tokens`) are not used."""

    model_config = ConfigDict(extra="ignore")
    split: str
    identity: Annotated[int, Field(alias="id", ge=0)]
    image: Annotated[str, Field(validation_alias=AliasChoices("file_path", "img_path"), min_length=1)]
    captions: Annotated[list[str], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """One image and the sentences about it."""

    sample: ImageSample
    captions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextDataset:
    """The published parts, each in the order of the file names."""

    name: str
    train: tuple[CaptionedImage, ...]
    val: tuple[CaptionedImage, ...]  # empty in ICFG-PEDES; where it exists, models are selected here
    test: tuple[CaptionedImage, ...]


def read_cuhk_pedes(path: Path) -> TextDataset:
    """Raises `ConfigurationError` for missing or malformed annotations and missing images."""
    return _read("cuhk_pedes", path, ("reid_raw.json",), first_identity=1, parts=SPLITS)


def read_icfg_pedes(path: Path) -> TextDataset:
    """Raises `ConfigurationError` for missing or malformed annotations and missing images."""
    names = ("ICFG-PEDES.json", "ICFG_PEDES.json")
    return _read("icfg_pedes", path, names, first_identity=0, parts=("train", "test"))


def read_rstpreid(path: Path) -> TextDataset:
    """Raises `ConfigurationError` for missing or malformed annotations and missing images."""
    return _read("rstpreid", path, ("data_captions.json",), first_identity=0, parts=SPLITS)


def flattened(images: Sequence[CaptionedImage]) -> tuple[tuple[str, ...], I64]:
    """All (M,) sentences, and (M,) the place of each one's image. File names do not tell images of CUHK-PEDES apart."""
    places = [place for place, image in enumerate(images) for _ in image.captions]
    return tuple(caption for image in images for caption in image.captions), np.array(places, np.int64)


def _read(
    name: str, path: Path, file_names: tuple[str, ...], first_identity: int, parts: tuple[str, ...]
) -> TextDataset:
    archive = open_archive(path)
    everything = archive.names()
    annotations = [file for file in everything if file.rsplit("/", 1)[-1] in file_names]
    if len(annotations) != 1:
        raise ConfigurationError(
            f"{path} has {len(annotations)} files named {' or '.join(file_names)}; expected one, with {IMAGES}/ beside "
            "it: check the path, or extract the archive again"
        )
    place = f"{annotations[0]} in {archive.address}"
    records = parse_json(archive.read(annotations[0]), place, TypeAdapter(list[_Record]))
    folder = f"{annotations[0].rpartition('/')[0]}/{IMAGES}/".lstrip("/")
    known = set(image_names(archive))
    images: dict[str, list[CaptionedImage]] = {part: [] for part in SPLITS}
    missing = []
    for record in records:
        if record.split not in parts or record.identity < first_identity:
            raise ConfigurationError(
                f"{place}: {record.image} has split {record.split!r} and id {record.identity}; expected one of "
                f"{', '.join(parts)} and ids from {first_identity}: is this the file of another data set?"
            )
        sample = ImageSample(archive, folder + record.image, record.identity - first_identity + 1, 0)
        if sample.name not in known:
            missing.append(sample.name)
        images[record.split].append(CaptionedImage(sample, tuple(record.captions)))
    if missing:
        raise ConfigurationError(
            f"{place} names {len(records)} images, of which {len(missing)} are not there, the first is {missing[0]}; "
            "copy or extract the images again"
        )
    empty = [part for part in parts if not images[part]]
    if empty:
        raise ConfigurationError(f"{place} has no records of split {empty[0]}; expected {', '.join(parts)}")
    ordered = (tuple(sorted(images[part], key=lambda image: image.sample.name)) for part in SPLITS)
    return TextDataset(name, *ordered)
