"""Sentences about the people of a data set, as JSON: records with `image`, `identity`, `split` and `captions`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pipeline.errors import ConfigurationError
from reid_models.datasets.json_files import parse_json
from reid_models.datasets.sample import Caption

T = TypeVar("T")


class _Record(BaseModel):
    """One image with its sentences. `same_frame_images` are other crops of the person in the same frame."""

    model_config = ConfigDict(extra="ignore")
    image: str
    identity: Annotated[str, Field(pattern=r"^\d+$")]
    split: str
    captions: Annotated[list[str], Field(min_length=1)]
    same_frame_images: list[str] = []


def read_captions(path: Path, split: str) -> tuple[Caption, ...]:
    """The sentences of one split, in the file's order. Raises `ConfigurationError` for a missing or malformed file."""
    records = _read_records(path, split)
    return tuple(Caption(text, int(record.identity), record.image) for record in records for text in record.captions)


def read_same_frame_captions(path: Path, split: str) -> tuple[Caption, ...]:
    """As `read_captions`, for a data set with other crops than those that were described: each sentence belongs to the
    first crop of the person in the same frame; sentences about a frame without one are left out.
    """
    records = _read_records(path, split)
    return tuple(
        Caption(text, int(record.identity), record.same_frame_images[0])
        for record in records
        if record.same_frame_images
        for text in record.captions
    )


def read_attributes(path: Path, split: str) -> dict[int, dict[str, int]]:
    """Coded attributes by identity, as in Market-1501-attribute (Lin et al. 2019): see `attribute_sentences.py`."""
    records = _parse(path, TypeAdapter(dict[str, dict[str, int | str]]))
    return {
        int(identity): {name: value for name, value in record.items() if isinstance(value, int)}
        for identity, record in records.items()
        if record.get("split") == split
    }


def by_identity(captions: Iterable[Caption]) -> dict[int, list[str]]:
    """All sentences about each identity."""
    texts: dict[int, list[str]] = {}
    for caption in captions:
        texts.setdefault(caption.identity, []).append(caption.text)
    return texts


def _read_records(path: Path, split: str) -> list[_Record]:
    """The records of one split, at least one."""
    records = _parse(path, TypeAdapter(list[_Record]))
    chosen = [record for record in records if record.split == split]
    if not chosen:
        found = ", ".join(sorted({record.split for record in records})) or "none"
        raise ConfigurationError(f"{path} has no captions of split {split!r}; the splits in it: {found}")
    return chosen


def _parse(path: Path, adapter: TypeAdapter[T]) -> T:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path} does not exist; expected a JSON file with sentences or attributes") from error
    return parse_json(content, str(path), adapter)
