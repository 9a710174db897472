"""The methods by name: their published settings, and how each is built over towers and samples.

A method gets the set that its setting knows and nothing more: only here do labels and methods meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydantic import ConfigDict, ValidationError, create_model
from torch import Tensor
from torch.nn import functional

from pipeline.errors import ConfigurationError
from pipeline.yaml_files import YamlFile, explain
from reid_models.datasets.lessons import lessons_of_people
from reid_models.datasets.training_sets import U8, LabelledSet, PairSet, intra_camera_set
from reid_models.descriptor import Descriptor
from reid_models.encoder import PersonEncoder
from reid_models.methods import ccafl, clip_fgdi, clip_reid, cpcl, small
from reid_models.recipes.schema import MethodName, Recipe, merged
from reid_models.recipes.sources import TrainingSamples
from reid_models.recipes.towers import Towers, architecture_name
from reid_models.trainer import Method, TrainerConfig
from reid_models.transforms import NORMALISATIONS


@dataclass(frozen=True, slots=True, eq=False)
class Ingredients:
    """What a method is built from. `config` is the method's own."""

    recipe: Recipe
    config: Any
    towers: Towers
    data: TrainingSamples
    images: U8  # (N, H, W, 3), in the order of `data.samples`


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A method ready to be trained, and what is to be evaluated and kept of it."""

    method: Method
    towers: Towers
    descriptor: Descriptor


@dataclass(frozen=True, slots=True)
class SmallConfig:
    """Both stages of the small bundle."""

    appearance: small.StageConfig = small.APPEARANCE
    language: small.StageConfig = small.LANGUAGE


@dataclass(frozen=True, slots=True)
class MethodKind:
    """`bases` are published settings by name, the default first. `teaches_text`: its text side means something even
    where it began from random weights, so the trained encoder answers sentences.
    """

    bases: Mapping[str, Any]
    build: Callable[[Ingredients], Built]
    teaches_text: bool = False


def method_config(recipe: Recipe, file: YamlFile | None, device: str) -> Any:
    """The method's configuration: the recipe's base, its encoder, seed and precision, and its `settings` on top.

    Raises `ConfigurationError` with file and line for an unknown base or setting, or a value that cannot be.
    """
    bases = METHODS[recipe.method].bases
    name = recipe.base or next(iter(bases))
    if name not in bases:
        raise ConfigurationError(f"base {name!r} of {recipe.method} is unknown; expected one of {', '.join(bases)}")
    size = recipe.encoder.image_size
    everywhere: dict[str, Any] = {
        "device": device,
        "precision": recipe.precision,
        "seed": recipe.seed,
        "image_size": size,
        "is_instance_normalised": recipe.encoder.normalisation == "instance",
    }
    if recipe.method != "small":  # whose images grow in the course of the training
        everywhere["sizes"] = ((0, size),)
    if recipe.encoder.normalisation != "instance":
        everywhere["normalisation"] = asdict(NORMALISATIONS[recipe.encoder.normalisation])
    values = merged(_filled(asdict(bases[name]), everywhere), recipe.settings)
    whole = create_model("Settings", __config__=ConfigDict(extra="forbid"), settings=(type(bases[name]), ...))
    try:
        return whole.model_validate({"settings": values}).settings  # type: ignore[attr-defined]
    except ValidationError as error:
        raise ConfigurationError(explain(error, whole, file, "settings")) from None


def _filled(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Every key at any depth that is named in `values` gets its value."""
    return {
        key: values[key] if key in values else _filled(value, values) if isinstance(value, Mapping) else value
        for key, value in config.items()
    }


def _build_clip_reid(given: Ingredients) -> Built:
    towers = given.towers
    method = clip_reid.clip_reid(towers.encoder, towers.tokenize, _labelled(given), given.config)
    return Built(method, towers, method.descriptor)


def _build_clip_fgdi(given: Ingredients) -> Built:
    towers = given.towers
    method = clip_fgdi.clip_fgdi(towers.encoder, towers.tokenize, _labelled(given), given.config)
    return Built(method, towers, method.descriptor)


def _build_ccafl(given: Ingredients) -> Built:
    towers, data = given.towers, given.data
    seen = intra_camera_set(given.images, data.cameras, data.identities)
    method = ccafl.ccafl(towers.encoder, towers.tokenize, seen, given.config, given.recipe.seed)
    return Built(method, towers, _appearance(towers.encoder))


def _build_cpcl(given: Ingredients) -> Built:
    towers, data = given.towers, given.data
    assert data.image_of_caption is not None
    pairs = PairSet(given.images, data.captions, data.image_of_caption)
    method = cpcl.cpcl(towers.encoder, towers.tokenize, pairs, given.config)
    return Built(method, towers, _appearance(towers.encoder))


def _build_small(given: Ingredients) -> Built:
    """Makes towers of its own, whose vocabulary also knows the words of made sentences."""
    assert given.data.people is not None
    encoder, config = given.recipe.encoder, given.config
    trainer = TrainerConfig(seed=given.recipe.seed)
    recipe = small.Recipe(
        architecture_name(encoder.source), encoder.image_size, config.appearance, config.language, trainer
    )
    method, model = small.small(lessons_of_people(given.data.people, given.images), recipe)

    def tokenize(sentences: Sequence[str]) -> Tensor:
        return model.vocabulary.encode(sentences, model.encoder.context_length)

    return Built(method, Towers(model.encoder, tokenize, model.vocabulary), _appearance(model.encoder))


METHODS: Mapping[MethodName, MethodKind] = {
    "clip_reid": MethodKind({"vit": clip_reid.VIT, "rn50": clip_reid.RN50}, _build_clip_reid),
    "ccafl": MethodKind(
        {"market1501": ccafl.MARKET1501, "dukemtmc": ccafl.DUKEMTMC, "msmt17": ccafl.MSMT17}, _build_ccafl
    ),
    "cpcl": MethodKind({"cpcl": cpcl.VIT_B16, "info_nce": cpcl.info_nce(cpcl.VIT_B16)}, _build_cpcl, teaches_text=True),
    "clip_fgdi": MethodKind({"vit": clip_fgdi.VIT}, _build_clip_fgdi),
    "small": MethodKind({"small": SmallConfig()}, _build_small, teaches_text=True),
}


def _labelled(given: Ingredients) -> LabelledSet:
    data, known = given.data, given.recipe.encoder.cameras
    found = len(np.unique(data.cameras))
    if known and found != known:
        raise ConfigurationError(f"encoder.cameras is {known}, but the training images come from {found} cameras")
    return LabelledSet(given.images, data.identities, data.domains, data.cameras if known else None)


def _appearance(encoder: PersonEncoder) -> Descriptor:
    """The pooled features behind their neck, compared by cosine."""
    return Descriptor(encoder, lambda images: functional.normalize(encoder(images).appearance.float(), dim=1), "cosine")
