"""What a recipe file may say. No torch here: a recipe is read and checked before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.errors import ConfigurationError
from pipeline.yaml_files import YamlFile, explain, read_yaml
from reid_models.datasets.readers import READERS, TEXT_READERS

SHIPPED = Path(__file__).parent
SUFFIX = ".yaml"

MethodName = Literal["clip_reid", "ccafl", "cpcl", "clip_fgdi", "small"]
Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EncoderRecipe(_Part):
    """The towers and what they are shown."""

    # ViT-B-16/openai: pretrained; RN50//weights.safetensors: from a file; scratch/NAME: random weights, NAME being a
    # light tower (person_cnn_light), tiny_vit, or an architecture of open_clip
    source: str
    image_size: tuple[Positive, Positive]  # (height, width) in pixels
    stored_size: tuple[Positive, Positive] | None = None  # at which images are kept in memory; default: image_size
    stride: Positive | None = None  # pixels between tokens, or between places of a ResNet's last map
    pooling: Literal["tower", "average", "generalised_mean"] = "tower"
    normalisation: Literal["imagenet", "clip", "half", "instance"] = "imagenet"
    cameras: Natural = 0  # of the training set, each with a vector of its own (SIE; clip_reid with a ViT only)


class SourceRecipe(_Part):
    """One data set on disk."""

    reader: str
    path: Path  # relative: below --data-dir
    options: dict[str, bool | int | str] = {}  # of the reader, such as `split` or `with_validation`
    captions: Path | None = None  # JSON of sentences, for readers of images
    attributes: Path | None = None  # JSON of coded attributes, for the small bundle
    is_part: bool = False  # True: not all that was published need be there

    @field_validator("reader")
    @classmethod
    def _reader_is_known(cls, reader: str) -> str:
        if reader not in READERS and reader not in TEXT_READERS:
            raise ValueError(f"data set {reader!r} is unknown; expected one of {', '.join([*READERS, *TEXT_READERS])}")
        return reader


class DataRecipe(_Part):
    """What is learnt from."""

    train: Annotated[tuple[SourceRecipe, ...], Field(min_length=1)]
    images: Literal["train", "all"] = "train"  # all: the test images of the sources as well
    domains: Literal["sources", "cameras"] = "sources"  # what counts as a domain


class EvaluationRecipe(_Part):
    """What is measured on, always after the last epoch: no epoch is chosen by its score."""

    data: tuple[SourceRecipe, ...] = ()  # empty: the test parts of the training sources
    splits: Positive = 1  # of each set, the fixed splits from 0; scores are their means
    part: Literal["test", "val"] = "test"  # of sets with captions
    every_epochs: Natural = 0  # also so often on the way, to look at


class ExpectedFigures(_Part):
    """What others published for this row, by the names of our metrics, as shares from 0 to 1."""

    source: str
    metrics: dict[str, Annotated[float, Field(ge=0, le=1)]]


class Recipe(_Part):
    """One experiment."""

    title: str
    method: MethodName
    encoder: EncoderRecipe
    data: DataRecipe
    evaluation: EvaluationRecipe = EvaluationRecipe()
    base: str | None = None  # which published settings `settings` begin from; default: the method's first
    settings: dict[str, Any] = {}  # of the method's configuration; nested keys by nested mappings
    expected: ExpectedFigures | None = None
    seed: Natural = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    accumulation: Positive = 1  # batches for each step of the optimisers
    gradient_norm: Annotated[float, Field(gt=0)] | None = None  # longer gradients are shortened to this
    tracking: str | None = None  # tensorboard:FOLDER or mlflow:ADDRESS

    @model_validator(mode="after")
    def _camera_vectors_have_their_method(self) -> Recipe:
        if self.encoder.cameras and (self.method != "clip_reid" or len(self.data.train) > 1):
            raise ValueError(
                f"encoder.cameras is {self.encoder.cameras} with method {self.method} and {len(self.data.train)} "
                "training sets; camera vectors are for clip_reid on one data set, leave them out"
            )
        return self


def shipped_recipes() -> dict[str, Path]:
    """By name."""
    return {path.stem: path for path in sorted(SHIPPED.glob(f"*{SUFFIX}"))}


def find_recipe(given: str) -> Path:
    """A file, or the shipped recipe of that name: `ccafl_msmt17`, `ccafl_msmt17.yaml`, `recipes/ccafl_msmt17.yaml`.

    Raises `ConfigurationError` that lists the shipped ones.
    """
    path = Path(given)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    name = path.name.removesuffix(SUFFIX)
    if name in shipped and str(path.parent) in (".", "recipes"):
        return shipped[name]
    raise ConfigurationError(
        f"{given} is neither a file nor a shipped recipe; expected a path, or one of {', '.join(shipped)}"
    )


def load_recipe(path: Path, overrides: Mapping[str, Any] | None = None) -> tuple[Recipe, YamlFile]:
    """The recipe, and its file for later errors about `settings`. `overrides` replace values, nested ones by nested
    mappings.

    Raises `ConfigurationError` naming file, line, what was found and what was expected.
    """
    file = read_yaml(path, "method")
    try:
        return Recipe.model_validate(merged(file.values, overrides or {})), file
    except ValidationError as error:
        raise ConfigurationError(explain(error, Recipe, file, "recipe")) from None


def merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `top`; mappings in both are merged."""
    result = dict(base)
    for key, value in top.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return result


def as_yaml(recipe: Recipe) -> str:
    """The recipe as it is in effect."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
