"""The encoder that a recipe names, with the tokenizer of its text side: pretrained, or from random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import ConfigurationError
from reid_models.encoder import (
    PersonEncoder,
    PersonOptions,
    channels_last,
    person_cnn_architecture,
    sub_word_tokenizer,
    tiny_vit_architecture,
    with_options,
)
from reid_models.imported import HUB, pretrained_encoder
from reid_models.prompts import CLASS_TEMPLATE, DOMAIN_TEMPLATE, Tokenize
from reid_models.recipes.schema import EncoderRecipe
from reid_models.vocabulary import Vocabulary, learn_vocabulary

SCRATCH = "scratch/"
LIGHT = "person_cnn"  # how the names of our own towers begin
LEAST_COUNT = 2  # a word seen once in training teaches nothing


@dataclass(frozen=True, slots=True, eq=False)
class Towers:
    """What a method is built over. A light tower has a closed vocabulary, the others CLIP's own tokenizer (None)."""

    encoder: PersonEncoder
    tokenize: Tokenize
    vocabulary: Vocabulary | None


def is_scratch(source: str) -> bool:
    return source.startswith(SCRATCH)


def open_towers(recipe: EncoderRecipe, captions: Sequence[str], seed: int) -> Towers:
    """As the recipe says; `captions` are what a light tower's vocabulary is learnt from.

    Raises `ConfigurationError` for an unknown name, for weights that are missing, and for options of another tower.
    """
    if is_scratch(recipe.source):
        return untrained_towers(recipe, captions, seed)
    try:
        encoder = pretrained_encoder(recipe.source, _options(recipe))
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{error}\nA recipe takes other weights with `--encoder`: {_elsewhere(recipe.source)} for a file with "
            f"CLIP's weights that you have, or {SCRATCH}person_cnn_light for a light tower from random weights, which "
            "runs everywhere and reaches no published figure"
        ) from error
    return Towers(channels_last(encoder), sub_word_tokenizer(encoder.context_length), None)


def untrained_towers(recipe: EncoderRecipe, captions: Sequence[str], seed: int) -> Towers:
    """The same towers from random weights, whatever the recipe's source: all sizes are right, and nothing is known."""
    torch.manual_seed(seed)
    name = architecture_name(recipe.source)
    if not name.startswith(LIGHT):
        architecture = tiny_vit_architecture(recipe.image_size) if name == "tiny_vit" else _of_open_clip(name)
        encoder = PersonEncoder(with_options(architecture, _options(recipe)))
        return Towers(channels_last(encoder), sub_word_tokenizer(encoder.context_length), None)
    vocabulary = learn_vocabulary(captions, LEAST_COUNT, kept=[CLASS_TEMPLATE, DOMAIN_TEMPLATE])
    architecture = person_cnn_architecture(_known_light(name), recipe.image_size, vocabulary.size)
    encoder = PersonEncoder(with_options(architecture, _options(recipe)))
    tokenize = partial(vocabulary.encode, context_length=encoder.context_length)
    return Towers(channels_last(encoder), tokenize, vocabulary)


def missing_weights(source: str) -> str | None:
    """What must be had before training, in words; None if nothing must, as far as can be told without the network."""
    import open_clip
    from huggingface_hub import try_to_load_from_cache

    if is_scratch(source):
        return None
    name, _, tag = source.partition("/")
    if source.startswith(HUB):
        repository = source.removeprefix(HUB)
    else:
        known = open_clip.get_pretrained_cfg(name, tag)
        if not known:
            return None if Path(tag).is_file() else f"there is no file {tag} with the weights of {name}"
        repository = str(known.get("hf_hub", "")).strip("/")
    files = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    if repository and any(isinstance(try_to_load_from_cache(repository, file), str) for file in files):
        return None
    return f"the weights {source} will be downloaded ({repository or 'by open_clip'}), or name a file: --encoder " + (
        _elsewhere(source)
    )


def architecture_name(source: str) -> str:
    """Raises `ConfigurationError` for a name on the hub, whose architecture only the hub knows."""
    if source.startswith(HUB):
        raise ConfigurationError(f"{source} is not here, and only the hub knows its architecture; download it first")
    return source.removeprefix(SCRATCH).partition("/")[0]


def _of_open_clip(name: str) -> dict[str, Any]:
    import open_clip

    architecture = open_clip.get_model_config(name)
    if architecture is None:
        raise ConfigurationError(
            f"encoder {name!r} is unknown; expected a light tower ({', '.join(_light_towers())}), tiny_vit, or an "
            "architecture of open_clip such as ViT-B-16 or RN50"
        )
    return {key: value for key, value in architecture.items() if key != "custom_text"}


def _known_light(name: str) -> str:
    if name not in _light_towers():
        raise ConfigurationError(f"light tower {name!r} is unknown; expected one of {', '.join(_light_towers())}")
    return name


def _light_towers() -> list[str]:
    import timm

    return list(timm.list_models(f"{LIGHT}*"))


def _options(recipe: EncoderRecipe) -> PersonOptions:
    return PersonOptions(
        image_size=recipe.image_size,
        stride=recipe.stride,
        pooling=recipe.pooling,
        cameras=recipe.cameras,
        instance_normalised=recipe.normalisation == "instance",
        normalisation="imagenet" if recipe.normalisation == "instance" else recipe.normalisation,
    )


def _elsewhere(source: str) -> str:
    return f"{source.partition('/')[0]}//path/to/weights.pt"
