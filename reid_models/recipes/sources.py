"""From the data sets that a recipe names to the samples of a training; `sets.py` shows them to methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigurationError
from reid_models.datasets.captions import read_captions, read_same_frame_captions
from reid_models.datasets.described import DescribedPeople, Source, read_described_people
from reid_models.datasets.labels import relabelled, require_trainable
from reid_models.datasets.readers import READERS, read_images_of, read_texts_of
from reid_models.datasets.sample import I64, Caption, ImageSample, cameras_of
from reid_models.datasets.text_sets import flattened
from reid_models.datasets.totals import require_published_totals
from reid_models.datasets.training_sets import digest_of_samples
from reid_models.recipes.schema import DataRecipe, MethodName, Recipe, SourceRecipe


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSamples:
    """Everything that is known of the training images. Which of it a method sees is decided in `sets.py`."""

    samples: tuple[ImageSample, ...]
    identities: I64  # (N,) from 0 without gaps; equal numbers of two sources are two people
    cameras: I64  # (N,) from 0; equal numbers of two sources are two cameras
    domains: I64  # (N,) from 0
    captions: tuple[str, ...] = ()
    image_of_caption: I64 | None = None  # (M,) place of each caption's image
    people: DescribedPeople | None = None  # for the small bundle

    @property
    def digest(self) -> str:
        return digest_of_samples(self.samples)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One source. Captions name the place of their image."""

    samples: tuple[ImageSample, ...]
    captions: tuple[str, ...] = ()
    image_of_caption: I64 | None = None


def with_located_sources(recipe: Recipe, data_dir: Path) -> Recipe:
    """The recipe with paths that are those of this machine. An absolute path stays."""
    data = recipe.data.model_copy(update={"train": tuple(_located(source, data_dir) for source in recipe.data.train)})
    tests = tuple(_located(source, data_dir) for source in recipe.evaluation.data)
    return recipe.model_copy(update={"data": data, "evaluation": recipe.evaluation.model_copy(update={"data": tests})})


def sources_of(recipe: Recipe) -> tuple[SourceRecipe, ...]:
    return (*recipe.data.train, *recipe.evaluation.data)


def missing_files(sources: Sequence[SourceRecipe]) -> list[Path]:
    """The paths of located sources at which there is nothing."""
    paths = [path for source in sources for path in (source.path, source.captions, source.attributes) if path]
    return [path for path in dict.fromkeys(paths) if not path.exists()]


def require_files(recipe: Recipe) -> None:
    """Raises `ConfigurationError` that names everything that is missing, with the ways to mend it."""
    missing = missing_files(sources_of(recipe))
    if missing:
        raise ConfigurationError(
            f"{', '.join(map(str, missing))}: nothing is there; put the data sets there, name their folder with "
            "--data-dir, or one of them with --data READER=PATH (`--dry-run` works without them)"
        )


def read_training(data: DataRecipe, method: MethodName) -> TrainingSamples:
    """The training part of located sources. Raises `ConfigurationError` for whatever is missing or unusable in them."""
    if method == "small":
        return _described(data)
    parts = [_text_part(source) if method == "cpcl" else _image_part(source, data.images) for source in data.train]
    samples = tuple(sample for part in parts for sample in part.samples)
    identities, cameras = _joined([relabelled(part.samples) for part in parts]), _joined_cameras(parts)
    sources: I64 = np.repeat(np.arange(len(parts)), [len(part.samples) for part in parts]).astype(np.int64)
    starts = np.cumsum([0, *(len(part.samples) for part in parts)])
    places = [part.image_of_caption + start for part, start in zip(parts, starts, strict=False) if part.captions]
    return TrainingSamples(
        samples,
        identities,
        cameras,
        cameras if data.domains == "cameras" else sources,
        tuple(caption for part in parts for caption in part.captions),
        np.concatenate(places).astype(np.int64) if places else None,
    )


def captions_of(source: SourceRecipe, split: str, samples: Sequence[ImageSample]) -> list[Caption]:
    """The sentences of a JSON file about `samples`: those about these very images, or else about their frames.

    Raises `ConfigurationError` if there are none.
    """
    if source.captions is None:
        raise ConfigurationError(
            f"{source.reader} has no captions; name a JSON file of sentences in `captions` of the recipe's source, or "
            "take a set that has its own"
        )
    shown = {sample.file_name for sample in samples}
    for read in (read_captions, read_same_frame_captions):
        captions = [caption for caption in read(source.captions, split) if caption.image in shown]
        if captions:
            return captions
    raise ConfigurationError(
        f"{source.captions} has no sentence of split {split!r} about the {len(shown)} images of {source.path}; do they "
        "belong together?"
    )


def _located(source: SourceRecipe, data_dir: Path) -> SourceRecipe:
    changes = {name: data_dir / path for name in ("path", "captions", "attributes") if (path := getattr(source, name))}
    return source.model_copy(update=changes)


def _described(data: DataRecipe) -> TrainingSamples:
    sources = []
    for source in data.train:
        if source.reader != "market1501" or source.captions is None or source.attributes is None:
            raise ConfigurationError(
                f"the small bundle learns from the layout of Market-1501 with captions and attributes, but the source "
                f"{source.path} has reader {source.reader}, captions {source.captions}, attributes {source.attributes}"
            )
        sources.append(Source(source.path, source.captions, source.attributes))
    people = read_described_people(sources)
    nothing = np.zeros(len(people.samples), np.int64)
    return TrainingSamples(people.samples, people.labels, cameras_of(people.samples), nothing, people=people)


def _image_part(source: SourceRecipe, images: str) -> _Part:
    dataset = read_images_of(source.reader, source.path, **source.options)
    if not source.is_part:
        require_published_totals(dataset)
    samples = dataset.combined() if images == "all" else dataset.train
    require_trainable(samples, source.reader)
    return _Part(samples)


def _text_part(source: SourceRecipe) -> _Part:
    if source.reader not in READERS:
        dataset = read_texts_of(source.reader, source.path, **source.options)
        if not source.is_part:
            require_published_totals(dataset)
        captions, places = flattened(dataset.train)
        return _Part(tuple(image.sample for image in dataset.train), captions, places)
    samples = _image_part(source, "train").samples
    described = captions_of(source, "train", samples)
    names = {caption.image for caption in described}
    shown = tuple(sample for sample in samples if sample.file_name in names)
    place_of = {sample.file_name: place for place, sample in enumerate(shown)}
    places = np.array([place_of[caption.image] for caption in described], np.int64)
    return _Part(shown, tuple(caption.text for caption in described), places)


def _joined_cameras(parts: Sequence[_Part]) -> I64:
    return _joined([np.unique(cameras_of(part.samples), return_inverse=True)[1].reshape(-1) for part in parts])


def _joined(labels: Sequence[I64]) -> I64:
    """One numbering after the other."""
    starts = np.cumsum([0, *(int(own.max()) + 1 for own in labels)])
    return np.concatenate([own + start for own, start in zip(labels, starts, strict=False)]).astype(np.int64)
